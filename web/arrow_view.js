// A motion as arrows over a grid of tokens, one pair of frames at a time, and over the video where there is a picture.

import { set, svg } from './dom.js'

const UNIT = 10

export class ArrowView {
  /** `kind` names the colour: reference or latent. */
  constructor(kind) {
    this.dots = svg('path', { class: 'fastvmt-dots' })
    this.path = svg('path', { class: `fastvmt-arrows fastvmt-${kind}` })
    this.picture = svg('image', { class: 'fastvmt-picture', preserveAspectRatio: 'none' })
    // Of the frames one below the other, an svg of its own shows one.
    this.window = svg('svg', {}, this.picture)
    const layers = [this.window, this.dots, this.path]
    this.element = svg('svg', { class: 'fastvmt-field', viewBox: '0 0 80 80', role: 'img' }, ...layers)
    this.flow = null
    this.frames = 0
    this.size = [80, 80]
  }

  /** Take the address of a picture of so many frames, one below the other, or null. */
  film(picture, frames) {
    this.frames = picture ? frames : 0
    if (picture) set(this.picture, { href: picture })
    else this.picture.removeAttribute('href')
  }

  /** Take a flow as the server sends one, or null. */
  show(flow) {
    this.flow = flow
    if (!flow) {
      set(this.path, { d: '' })
      set(this.dots, { d: '' })
      return
    }
    const [rows, columns] = flow.cells
    const [height, width] = flow.grid
    // Tokens are square; cells need not be.
    this.size = [columns * UNIT, (columns * UNIT * height) / width]
    this.cell = [this.size[0] / columns, this.size[1] / rows]
    this.scale = this.size[0] / width
    set(this.element, { viewBox: `0 0 ${this.size[0]} ${this.size[1].toFixed(1)}` })
    set(this.dots, { d: this.places().map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h.01`).join('') })
  }

  /** Draw the pair of frames `number`. */
  draw(number) {
    if (this.frames) {
      const [width, height] = this.size
      const y = -Math.min(number, this.frames - 1) * height
      set(this.window, { width, height })
      set(this.picture, { y, width, height: this.frames * height })
    }
    if (!this.flow) return
    const vectors = this.flow.frames[Math.min(number, this.flow.frames.length - 1)]
    const parts = this.places().map(([x, y], index) => {
      const dx = (vectors[2 * index] / 100) * this.scale
      const dy = (vectors[2 * index + 1] / 100) * this.scale
      return arrow(x, y, dx, dy)
    })
    set(this.path, { d: parts.join('') })
  }

  places() {
    const [rows, columns] = this.flow.cells
    const centres = []
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        centres.push([(column + 0.5) * this.cell[0], (row + 0.5) * this.cell[1]])
      }
    }
    return centres
  }
}

/** The root of the mean squared distance between two flows, in tokens; null where they cannot be compared. */
export function distance(one, other) {
  if (!one || !other || String(one.cells) !== String(other.cells) || one.frames.length !== other.frames.length) return null
  let sum = 0
  let count = 0
  one.frames.forEach((vectors, frame) => {
    vectors.forEach((value, index) => {
      sum += ((value - other.frames[frame][index]) / 100) ** 2
      count++
    })
  })
  return Math.sqrt((2 * sum) / Math.max(1, count))
}

/** Where most moves: the pair of frames to show when nothing is animated. */
export function liveliest(flow) {
  const lengths = flow.frames.map((vectors) => vectors.reduce((sum, value) => sum + Math.abs(value), 0))
  return lengths.indexOf(Math.max(...lengths))
}

function arrow(x, y, dx, dy) {
  const length = Math.hypot(dx, dy)
  if (length < 0.8) return ''
  const head = Math.min(3, 0.4 * length)
  const [ux, uy] = [dx / length, dy / length]
  const [ex, ey] = [x + dx, y + dy]
  const side = (sign) => `${f(ex - head * (ux - sign * 0.6 * uy))} ${f(ey - head * (uy + sign * 0.6 * ux))}`
  return `M${f(x)} ${f(y)}L${f(ex)} ${f(ey)}M${side(1)}L${f(ex)} ${f(ey)}L${side(-1)}`
}

function f(value) {
  return value.toFixed(1)
}
