// Loss over the inner steps of a run. A dot is a fresh gradient; a tick below the line is one that was used again, at
// which no loss is known.

import { set, svg } from './dom.js'
import { whenResized } from './resize.js'
import { say } from './words.js'

const LEFT = 34
const BOTTOM = 16
const TOP = 8
const RIGHT = 6
const TICKS = 10

export class LossChart {
  constructor() {
    this.grid = svg('path', { class: 'fastvmt-grid' })
    this.steps = svg('g', { class: 'fastvmt-axis' })
    this.line = svg('path', { class: 'fastvmt-line' })
    this.fresh = svg('path', { class: 'fastvmt-fresh' })
    this.reused = svg('path', { class: 'fastvmt-reused' })
    this.axis = svg('g', { class: 'fastvmt-axis' })
    this.element = svg(
      'svg',
      { class: 'fastvmt-chart', role: 'img' },
      this.grid,
      this.steps,
      this.line,
      this.reused,
      this.fresh,
      this.axis
    )
    // One unit is one pixel, so that text and dots keep their shape whatever the node's.
    this.size = [320, 110]
    this.remove = whenResized(this.element, () => this.resize())
    this.clear(1, [0])
  }

  resize() {
    const { clientWidth, clientHeight } = this.element
    if (!clientWidth || !clientHeight || String([clientWidth, clientHeight]) === String(this.size)) return
    this.size = [clientWidth, clientHeight]
    this.draw()
  }

  /** Begin anew: `inner` inner steps at each of the guided steps `guided`. */
  clear(inner, guided) {
    this.inner = inner
    this.guided = guided
    this.points = new Map()
    this.ticks = new Set()
    this.draw()
  }

  /** Put down inner steps of a guided step: losses (null where reused) from number `first` on. */
  add(step, first, losses) {
    const row = this.guided.indexOf(step)
    if (row < 0) return
    losses.forEach((loss, index) => {
      const at = row * this.inner + first + index
      if (loss === null) this.ticks.add(at)
      else this.points.set(at, loss)
    })
    this.draw()
  }

  /** How many gradients were fresh, and how many used again. */
  get counts() {
    return { fresh: this.points.size, reused: this.ticks.size }
  }

  draw() {
    const [width, height] = this.size
    set(this.element, { viewBox: `0 0 ${width} ${height}` })
    const bottom = height - BOTTOM
    const places = Math.max(1, this.inner * this.guided.length)
    // By powers of ten: the first loss of a run is many times its last.
    const losses = [...this.points.values()].filter((loss) => loss > 0)
    const top = losses.length ? niceAbove(Math.max(...losses)) : 1
    const span = Math.log(top / Math.min(losses.length ? niceBelow(Math.min(...losses)) : 1, top / 10))
    const x = (at) => LEFT + ((at + 0.5) / places) * (width - LEFT - RIGHT)
    const y = (loss) => TOP + Math.min(1, Math.log(top / Math.max(loss, 1e-12)) / span) * (bottom - TICKS - TOP)
    const dot = Math.max(1.2, Math.min(2.6, 150 / places))
    const known = [...this.points].sort((a, b) => a[0] - b[0])
    set(this.line, { d: joined(known, this.inner, x, y) })
    set(this.fresh, { d: known.map(([at, loss]) => circle(x(at), y(loss), dot)).join('') })
    const ticks = [...this.ticks].map((at) => `M${f(x(at))} ${bottom - 1}V${bottom - 6}`)
    set(this.reused, { d: ticks.join('') })
    const edges = this.guided.map((_, row) => `M${f(x(row * this.inner - 0.5))} ${TOP}V${bottom}`)
    set(this.grid, { d: `${edges.join('')}M${LEFT} ${bottom}H${width - RIGHT}M${LEFT} ${TOP}H${width - RIGHT}` })
    const ends = [label(LEFT - 4, TOP + 7, short(top), 'end'), label(LEFT - 4, bottom - TICKS + 3, short(top / Math.exp(span)), 'end')]
    const name = label(LEFT - 4, (TOP + bottom - TICKS) / 2 + 5, say('loss'), 'end')
    this.axis.replaceChildren(name, ...(losses.length ? ends : []))
    const every = Math.ceil(this.guided.length / 12)
    const names = this.guided.map((step, row) => {
      return row % every ? null : label(x(row * this.inner + this.inner / 2 - 0.5), height - 4, step + 1, 'middle')
    })
    this.steps.replaceChildren(...names.filter(Boolean))
  }
}

/** One line for each guided step: the loss jumps between them. */
function joined(known, inner, x, y) {
  let before = -1
  return known
    .map(([at, loss]) => {
      const row = Math.floor(at / inner)
      const command = row === before ? 'L' : 'M'
      before = row
      return `${command}${f(x(at))} ${f(y(loss))}`
    })
    .join('')
}

function circle(x, y, r) {
  return `M${f(x - r)} ${f(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`
}

function label(x, y, text, anchor) {
  return svg('text', { x, y, 'text-anchor': anchor }, String(text))
}

/** The next smaller power of ten. */
function niceBelow(value) {
  return 10 ** Math.floor(Math.log10(value))
}

/** The next 1, 2 or 5 times a power of ten. */
function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value))
  return power * [1, 2, 5, 10].find((step) => step * power >= value * 0.999)
}

function short(value) {
  return value >= 0.001 && value < 10000 ? String(Number(value.toPrecision(2))) : value.toExponential(0)
}

function f(value) {
  return value.toFixed(1)
}
