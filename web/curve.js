// The strength of each guided step, drawn: points that can be dragged over the course of the guidance. The value is
// JSON, [[position, factor], ...], or an empty text for no curve.

import { app } from '../../scripts/app.js'
import { html, set, svg, useStyles } from './dom.js'
import { whenResized } from './resize.js'
import { say } from './words.js'

const TYPE = 'FASTVMT_CURVE'
const MOST_FACTOR = 2
const MOST_POINTS = 32
const FLAT = [
  [0, 1],
  [1, 1]
]
const PAD = 9
const LEFT = 26
const HEIGHT = 175

app.registerExtension({
  name: 'FastVMT.Curve',

  init: useStyles,

  getCustomWidgets() {
    return {
      [TYPE](node, name) {
        const curve = new Curve(() => widget.callback?.(curve.value))
        const widget = node.addDOMWidget(name, TYPE, curve.element, {
          hideOnZoom: false,
          getMinHeight: () => HEIGHT,
          getValue: () => curve.value,
          setValue: (value) => curve.take(value)
        })
        const removed = widget.onRemove
        widget.onRemove = function (...given) {
          curve.remove()
          return removed?.apply(this, given)
        }
        return { widget }
      }
    }
  }
})

class Curve {
  constructor(changed) {
    this.changed = changed
    this.value = ''
    this.points = FLAT
    this.size = [240, 90]
    this.grid = svg('path', { class: 'fastvmt-grid' })
    this.line = svg('path', { class: 'fastvmt-line' })
    this.area = svg('path', { class: 'fastvmt-area' })
    this.handles = svg('g', { class: 'fastvmt-handles' })
    this.axis = svg('g', { class: 'fastvmt-axis' })
    this.canvas = svg('svg', { class: 'fastvmt-plot' }, this.grid, this.axis, this.area, this.line, this.handles)
    this.canvas.append(svg('title', {}, say('curveHelp')))
    this.reset = html('button', { type: 'button', class: 'fastvmt-reset' }, say('curveReset'))
    this.hint = html('span', { class: 'fastvmt-hint' })
    this.element = html(
      'div',
      { class: 'fastvmt-curve' },
      this.canvas,
      html('div', { class: 'fastvmt-row' }, this.hint, this.reset)
    )
    this.reset.addEventListener('click', () => this.put(FLAT))
    this.canvas.addEventListener('pointerdown', (event) => this.grab(event))
    this.canvas.addEventListener('dblclick', (event) => this.toggle(event))
    this.remove = whenResized(this.canvas, () => this.resize())
    this.draw()
  }

  /** Take a saved value; what is no curve is kept as it is, for the server to refuse. */
  take(value) {
    this.value = typeof value === 'string' ? value : ''
    this.points = parsed(this.value) ?? FLAT
    this.draw()
  }

  /** Take points that a person drew. */
  put(points) {
    this.points = points
    this.value = String(points) === String(FLAT) ? '' : JSON.stringify(points)
    this.draw()
    this.changed()
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas
    if (!clientWidth || !clientHeight || String([clientWidth, clientHeight]) === String(this.size)) return
    this.size = [clientWidth, clientHeight]
    this.draw()
  }

  x(position) {
    return LEFT + position * (this.size[0] - LEFT - PAD)
  }

  y(factor) {
    return PAD + (1 - factor / MOST_FACTOR) * (this.size[1] - 2 * PAD)
  }

  draw() {
    const [width, height] = this.size
    set(this.canvas, { viewBox: `0 0 ${width} ${height}` })
    const levels = [0, 1, 2].map((factor) => `M${LEFT} ${this.y(factor)}H${width - PAD}`)
    set(this.grid, { d: levels.join('') })
    const path = this.points.map(([at, factor], index) => `${index ? 'L' : 'M'}${this.x(at)} ${this.y(factor)}`).join('')
    set(this.line, { d: path })
    set(this.area, { d: `${path}L${this.x(1)} ${this.y(0)}L${this.x(0)} ${this.y(0)}Z` })
    this.handles.replaceChildren(
      ...this.points.map(([at, factor]) => svg('circle', { cx: this.x(at), cy: this.y(factor), r: 4.5 }))
    )
    this.axis.replaceChildren(
      text(LEFT + 2, this.y(0) - 3, say('curveStart'), 'start'),
      text(width - PAD - 2, this.y(0) - 3, say('curveEnd'), 'end'),
      ...[0, 1, 2].map((factor) => text(LEFT - 8, this.y(factor) + 3, `×${factor}`, 'end'))
    )
    this.showPoint(null)
  }

  /** Write down where a point is; without one, what to do. */
  showPoint(point) {
    this.hint.textContent = point ? `${Math.round(100 * point[0])} %  ×${point[1]}` : say('curveHelp')
  }

  /** Position and factor under the pointer, rounded to hundredths. */
  at(event) {
    const box = this.canvas.getBoundingClientRect()
    const [width, height] = this.size
    const x = ((event.clientX - box.left) / box.width) * width
    const y = ((event.clientY - box.top) / box.height) * height
    const position = (x - LEFT) / (width - LEFT - PAD)
    const factor = MOST_FACTOR * (1 - (y - PAD) / (height - 2 * PAD))
    return [hundredths(position, 0, 1), hundredths(factor, 0, MOST_FACTOR)]
  }

  /** The point under the pointer, or -1. */
  under(event) {
    const box = this.canvas.getBoundingClientRect()
    const scale = box.width / this.size[0]
    return this.points.findIndex(([at, factor]) => {
      const dx = event.clientX - box.left - this.x(at) * scale
      const dy = event.clientY - box.top - this.y(factor) * scale
      return Math.hypot(dx, dy) <= 10 * Math.max(1, scale)
    })
  }

  grab(event) {
    const index = this.under(event)
    if (event.button !== 0 || index < 0) return
    // Or the canvas below would take it for a drag of the node.
    event.stopPropagation()
    event.preventDefault()
    const move = (moved) => {
      moved.stopPropagation()
      this.put(this.moved(index, this.at(moved)))
      this.showPoint(this.points[index])
    }
    const release = () => {
      window.removeEventListener('pointermove', move, true)
      window.removeEventListener('pointerup', release, true)
      window.removeEventListener('pointercancel', release, true)
      this.showPoint(null)
    }
    // On the window, not by capture: Nodes 2.0 may mount the widget anew when its value changes, which ends a capture.
    window.addEventListener('pointermove', move, true)
    window.addEventListener('pointerup', release, true)
    window.addEventListener('pointercancel', release, true)
  }

  /** The points with one of them moved; the ends stay ends, the others between their neighbours. */
  moved(index, [position, factor]) {
    const last = this.points.length - 1
    const [low, high] = [this.points[index - 1]?.[0] ?? 0, this.points[index + 1]?.[0] ?? 1]
    const inside = hundredths(position, low + 0.01, high - 0.01)
    const place = index === 0 ? 0 : index === last ? 1 : inside
    return this.points.map((point, at) => (at === index ? [place, factor] : point))
  }

  toggle(event) {
    event.stopPropagation()
    event.preventDefault()
    const index = this.under(event)
    if (index > 0 && index < this.points.length - 1) {
      this.put(this.points.filter((_, at) => at !== index))
    } else if (index < 0 && this.points.length < MOST_POINTS) {
      const point = this.at(event)
      if (this.points.some(([at]) => at === point[0])) return
      this.put([...this.points, point].sort((a, b) => a[0] - b[0]))
    }
  }
}

function parsed(value) {
  try {
    const points = JSON.parse(value)
    const pairs = points.every((point) => point.length === 2 && point.every(Number.isFinite))
    return pairs && points.length >= 2 ? points : null
  } catch {
    return null
  }
}

function hundredths(value, low, high) {
  return Math.round(100 * Math.min(high, Math.max(low, value))) / 100
}

function text(x, y, words, anchor) {
  return svg('text', { x, y, 'text-anchor': anchor }, words)
}
