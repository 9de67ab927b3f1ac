// How a drawing looks on its stage: the ground, shapes where they begin and end, paths, handles, and the clip at a time.

import { svg } from './dom.js'
import { CAMERA, COLOURS, centreOf, followed, handlesOf } from './drawing.js'

const TICKS = 12

/** The elements of a stage whose units are pixels of the frame; `unit` of them are a pixel on the screen. */
export function drawn({ drawing, chosen, handle, size, unit, time, picture }) {
  const { objects, camera } = drawing
  const playing = time !== undefined
  const far = playing ? view(camera, time, size, 1 - (camera.parallax ?? 0)) : ''
  const near = playing ? view(camera, time, size, 1) : ''
  const shapes = objects.map((object, index) => {
    const end = !playing && index === chosen ? [shape(object, index, 1, size, 'fastvmt-ghost')] : []
    return svg('g', {}, ...end, shape(object, index, time ?? 0, size, index === chosen ? 'fastvmt-shape fastvmt-chosen' : 'fastvmt-shape'))
  })
  const depths = [svg('g', { transform: far }, ...ground(size, unit, picture)), svg('g', { transform: near }, ...shapes)]
  // An inner one, which cuts off what lies outside the frame.
  const layers = [svg('svg', { width: size[0], height: size[1] }, ...depths)]
  if (playing) return layers
  const paths = objects.map((object, index) => path(object, COLOURS[index], index === chosen, size, unit))
  const onCamera = chosen === CAMERA ? [frameAtEnd(camera, size), path(camera, '#fff', true, size, unit)] : []
  const item = chosen === CAMERA ? camera : objects[chosen]
  return [...layers, ...paths, ...onCamera, ...(item ? handles(item, chosen, handle, size, unit) : [])]
}

/** What a camera does to the layer of which it moves a part, as the server computes it, without the shake. */
function view(camera, time, size, part) {
  const { by, share } = followed(camera, time, size)
  const [x, y] = size.map((side) => side / 2)
  const zoom = (camera.scale ?? 1) ** (share * part)
  const turn = -share * (camera.turn ?? 0)
  return `translate(${x} ${y}) rotate(${turn}) scale(${zoom}) translate(${-x - by[0] * part} ${-y - by[1] * part})`
}

function ground([width, height], unit, picture) {
  const back = svg('rect', { class: 'fastvmt-ground', width, height })
  if (picture) return [back, svg('image', { href: picture, width, height, preserveAspectRatio: 'xMidYMid slice' })]
  const step = 28 * unit
  let dots = ''
  // Wider than the frame: a camera looks beyond it.
  for (let y = step / 2 - 10 * step; y < height + 10 * step; y += step) {
    for (let x = step / 2 - 10 * step; x < width + 10 * step; x += step) dots += `M${x} ${y}h0`
  }
  return [back, svg('path', { class: 'fastvmt-dots', d: dots })]
}

function shape(object, index, time, size, kind) {
  const [width, height] = size
  const { by, share } = followed(object, time, size)
  const [x, y] = centreOf(object)
  const centre = `${x * width} ${y * height}`
  const [turn, scale] = [share * (object.turn ?? 0), (object.scale ?? 1) ** share]
  const transform = `translate(${by}) rotate(${turn} ${centre}) translate(${centre}) scale(${scale}) translate(${-x * width} ${-y * height})`
  const attributes = { class: kind, transform, 'data-object': index, style: `--fastvmt-object: ${COLOURS[index]}` }
  if (object.ellipse) {
    const [, , across, down] = object.ellipse
    return svg('ellipse', { ...attributes, cx: x * width, cy: y * height, rx: across * width, ry: down * height })
  }
  if (object.lasso) {
    const points = object.lasso.map(([px, py]) => `${px * width},${py * height}`).join(' ')
    return svg('polygon', { ...attributes, points })
  }
  const side = 0.12 * Math.min(width, height)
  return svg('rect', { ...attributes, class: `${kind} fastvmt-mask`, x: x * width - side / 2, y: y * height - side / 2, width: side, height: side })
}

/** A path with an arrow at its end, and dots at even times along it. */
function path(move, colour, chosen, size, unit) {
  const points = (move.path ?? []).map(([x, y]) => [x * size[0], y * size[1]])
  const group = svg('g', { class: chosen ? 'fastvmt-path fastvmt-chosen' : 'fastvmt-path', style: `--fastvmt-object: ${colour}` })
  if (points.length < 2) return group
  const line = points.map(([x, y]) => `${x},${y}`).join(' ')
  group.append(svg('polyline', { class: 'fastvmt-casing', points: line }), svg('polyline', { class: 'fastvmt-trace', points: line }))
  for (let tick = 1; chosen && tick < TICKS; tick++) {
    const { by } = followed(move, tick / TICKS, size)
    group.append(svg('circle', { class: 'fastvmt-tick', cx: points[0][0] + by[0], cy: points[0][1] + by[1], r: 1.8 * unit }))
  }
  const [x, y] = points.at(-1)
  const before = points.findLast((point) => Math.hypot(x - point[0], y - point[1]) > 4 * unit) ?? points[0]
  const angle = (Math.atan2(y - before[1], x - before[0]) * 180) / Math.PI
  const arrow = svg('path', { class: 'fastvmt-tip', d: 'M3 0L-9 6.5L-6 0L-9 -6.5Z' })
  arrow.setAttribute('transform', `translate(${x} ${y}) rotate(${angle}) scale(${unit})`)
  group.append(arrow)
  return group
}

/** What the camera sees in the end. */
function frameAtEnd(camera, [width, height]) {
  const { by } = followed(camera, 1, [width, height])
  const zoom = camera.scale ?? 1
  const place = `translate(${width / 2 + by[0]} ${height / 2 + by[1]}) rotate(${camera.turn ?? 0})`
  const [w, h] = [width / zoom, height / zoom]
  return svg('rect', { class: 'fastvmt-view', transform: place, x: -w / 2, y: -h / 2, width: w, height: h })
}

function handles(item, chosen, active, [width, height], unit) {
  const colour = chosen === CAMERA ? '#fff' : COLOURS[chosen]
  const group = svg('g', { class: 'fastvmt-points', style: `--fastvmt-object: ${colour}` })
  const spots = item.path ? handlesOf(item.path) : []
  spots.forEach((index, number) => {
    // The first one of a shape is under the handle of the shape itself.
    if (number === 0 && chosen !== CAMERA && item.mask === undefined) return
    const [x, y] = item.path[index]
    const kind = number === active ? 'fastvmt-point fastvmt-active' : 'fastvmt-point'
    group.append(svg('circle', { class: kind, cx: x * width, cy: y * height, r: 4.5 * unit }))
  })
  if (item.ellipse || item.lasso) {
    const [x, y] = centreOf(item)
    const half = 4.5 * unit
    group.append(svg('rect', { class: 'fastvmt-point fastvmt-middle', x: x * width - half, y: y * height - half, width: 2 * half, height: 2 * half }))
  }
  if (item.ellipse) {
    const [x, y, across, down] = item.ellipse
    const at = { cx: (x + across * Math.SQRT1_2) * width, cy: (y + down * Math.SQRT1_2) * height, r: 4 * unit }
    group.append(svg('circle', { class: 'fastvmt-point fastvmt-size', ...at }))
  }
  return [group]
}
