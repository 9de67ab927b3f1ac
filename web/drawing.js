// A drawing as the server reads it: objects with paths and a camera, and where they are at a time. No page here.

export const MOST_OBJECTS = 8
export const SPEEDS = ['even', 'ease', 'ease in', 'ease out', 'timed']
/** The colours that the server gives to objects without a picture. */
export const COLOURS = ['#e6261f', '#264df2', '#f2d91a', '#26cc33', '#e626d9', '#f2f2f2', '#1abfcc', '#f28c1a']
export const CAMERA = 'camera'

const MOST_POINTS = 400
const MOST_HANDLES = 10
const EASING = {
  even: (time) => time,
  ease: (time) => time * time * (3 - 2 * time),
  'ease in': (time) => time * time,
  'ease out': (time) => 1 - (1 - time) ** 2
}

/** The drawing of a text; null for what is none, an empty one for an empty text. */
export function parsed(text) {
  if (!text?.trim()) return { objects: [], camera: {} }
  try {
    const { objects = [], camera = {} } = JSON.parse(text)
    const right = objects.every((each) => shapeOf(each) && arePoints(each.path ?? []))
    return right && arePoints(camera.path ?? []) ? { objects, camera } : null
  } catch {
    return null
  }
}

/** The text of a drawing; empty where nothing is drawn. */
export function written({ objects, camera }) {
  const moved = Object.keys(camera).length > 0
  if (!objects.length && !moved) return ''
  return JSON.stringify({ objects, ...(moved && { camera }) }, (_, value) =>
    typeof value === 'number' ? Math.round(value * 1e5) / 1e5 : value
  )
}

function shapeOf(object) {
  if (object.ellipse) return object.ellipse.length === 4 && object.ellipse.every(Number.isFinite)
  if (object.lasso) return object.lasso.length > 2 && arePoints(object.lasso)
  return Number.isInteger(object.mask)
}

function arePoints(points) {
  return points.every((point) => point.length === 2 && point.every(Number.isFinite))
}

/** Where a shape is: its centre, as a share of the frame; a mask's is where its path begins. */
export function centreOf(object) {
  if (object.ellipse) return object.ellipse.slice(0, 2)
  if (!object.lasso) return object.path?.[0] ?? [0.5, 0.5]
  return centroid(object.lasso)
}

/** The centroid of a polygon's area. */
function centroid(points) {
  let [area, x, y] = [0, 0, 0]
  points.forEach(([ax, ay], index) => {
    const [bx, by] = points[(index + 1) % points.length]
    const part = ax * by - bx * ay
    area += part
    x += (ax + bx) * part
    y += (ay + by) * part
  })
  return Math.abs(area) > 1e-9 ? [x / area / 3, y / area / 3] : points[0]
}

/** Displacement in pixels and share of the movement that is done at a time, 0 to 1; as the server computes them. */
export function followed(move, time, [width, height]) {
  const points = (move.path ?? []).map(([x, y]) => [x * width, y * height])
  const gone = [0]
  for (let at = 1; at < points.length; at++) gone.push(gone[at - 1] + distance(points[at - 1], points[at]))
  const length = gone.at(-1)
  let share
  if (move.speed === 'timed' && move.times?.length === points.length && points.length) {
    const [first, last] = [move.times[0], move.times.at(-1)]
    const marks = gone.map((each, at) => (length ? each / length : (move.times[at] - first) / Math.max(last - first, 1e-6)))
    share = between(time, move.times, marks.map((mark) => [mark]))[0]
  } else {
    share = (EASING[move.speed] ?? EASING.even)(time)
  }
  if (!length) return { by: [0, 0], share }
  const [x, y] = between(share * length, gone, points)
  return { by: [x - points[0][0], y - points[0][1]], share }
}

function between(at, places, values) {
  if (places.length === 1) return values[0]
  let after = places.findIndex((place) => place > at)
  if (after < 0) after = places.length - 1
  after = Math.max(1, after)
  const [low, high] = [places[after - 1], places[after]]
  const part = Math.min(1, Math.max(0, (at - low) / Math.max(high - low, 1e-9)))
  return values[after].map((value, axis) => values[after - 1][axis] * (1 - part) + value * part)
}

export function distance([ax, ay], [bx, by]) {
  return Math.hypot(ax - bx, ay - by)
}

/**
 * Of samples [x, y, time] in pixels those that are needed to be nowhere farther than `tolerance` from any of them, at
 * its time. So pauses stay, too.
 */
export function simplified(samples, tolerance) {
  const kept = new Set([0, samples.length - 1])
  const spans = [[0, samples.length - 1]]
  while (spans.length) {
    const [from, to] = spans.pop()
    const [ax, ay, at] = samples[from]
    const [bx, by, bt] = samples[to]
    let [worst, error] = [-1, tolerance]
    for (let index = from + 1; index < to; index++) {
      const [x, y, time] = samples[index]
      const part = (time - at) / Math.max(bt - at, 1e-9)
      const away = Math.hypot(ax + (bx - ax) * part - x, ay + (by - ay) * part - y)
      if (away > error) [worst, error] = [index, away]
    }
    if (worst < 0) continue
    kept.add(worst)
    spans.push([from, worst], [worst, to])
  }
  const found = [...kept].sort((one, other) => one - other).map((index) => samples[index])
  return found.length > MOST_POINTS ? simplified(samples, 1.5 * tolerance) : found
}

/** The points of a path that can be dragged: all, or of many some at even distances in their list. */
export function handlesOf(path) {
  if (path.length <= MOST_HANDLES) return path.map((_, index) => index)
  const last = MOST_HANDLES - 1
  return Array.from({ length: MOST_HANDLES }, (_, number) => Math.round((number * (path.length - 1)) / last))
}

/** The path with one of its handles moved; the points between it and its neighbours go along, the nearer the more. */
export function bent(path, number, [dx, dy]) {
  const handles = handlesOf(path)
  const [low, middle, high] = [handles[number - 1] ?? -1, handles[number], handles[number + 1] ?? path.length]
  return path.map(([x, y], index) => {
    const side = index <= middle ? middle - low : high - middle
    const part = Math.max(0, 1 - Math.abs(index - middle) / side)
    return [x + dx * part, y + dy * part]
  })
}
