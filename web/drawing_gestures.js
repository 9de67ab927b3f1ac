// What the mouse and the keys do to a drawing on its stage.

import { svg } from './dom.js'
import { CAMERA, bent, centreOf, distance, handlesOf, simplified } from './drawing.js'

/** Pixels of the frame by which a drawn line may be simplified. */
const TOLERANCE = 0.4
/** Pixels of the screen within which the pointer takes hold of something. */
const NEAR = 9

/** Gestures of a widget that has a stage, a drawing with an item chosen, and put, edit, add, choose and draw. */
export class Gestures {
  /** Where the pointer is in the frame, pixels, as far as places may lie outside. */
  at(event) {
    const box = this.stage.getBoundingClientRect()
    const [width, height] = this.size
    const scale = Math.min(box.width / width, box.height / height)
    const x = (event.clientX - box.left - (box.width - width * scale) / 2) / scale
    const y = (event.clientY - box.top - (box.height - height * scale) / 2) / scale
    return [Math.min(2 * width, Math.max(-width, x)), Math.min(2 * height, Math.max(-height, y))]
  }

  share([x, y]) {
    const [width, height] = this.size
    return [x / width, y / height]
  }

  pixels([x, y]) {
    const [width, height] = this.size
    return [x * width, y * height]
  }

  grab(event) {
    if (event.button !== 0) return
    // Or the canvas below would take it for a drag of the node.
    event.stopPropagation()
    event.preventDefault()
    this.stage.focus()
    cancelAnimationFrame(this.playing)
    const from = this.at(event)
    const act = this.lassoing ? this.lasso(from) : (this.handleDrag(from) ?? this.shapeDrag(from) ?? this.path(event, from))
    const move = (moved) => {
      moved.stopPropagation()
      act.move?.(this.at(moved), moved)
    }
    const release = (released) => {
      window.removeEventListener('pointermove', move, true)
      window.removeEventListener('pointerup', release, true)
      window.removeEventListener('pointercancel', release, true)
      act.end?.(this.at(released))
    }
    // On the window, not by capture: Nodes 2.0 may mount the widget anew when its value changes, which ends a capture.
    window.addEventListener('pointermove', move, true)
    window.addEventListener('pointerup', release, true)
    window.addEventListener('pointercancel', release, true)
  }

  near(one, other) {
    return distance(one, other) < NEAR * this.unit
  }

  /** Dragging a point of the chosen path. */
  handleDrag(from) {
    const path = this.item?.path ?? []
    const number = handlesOf(path).findLastIndex((index) => this.near(this.pixels(path[index]), from))
    // The first point lies where the shape is moved by.
    if (number < 0 || (number === 0 && this.chosen !== CAMERA && this.item.mask === undefined)) return null
    this.handle = number
    this.draw()
    const past = this.value
    return { move: (to) => this.edit({ path: bent(path, number, this.share([to[0] - from[0], to[1] - from[1]])) }, past) }
  }

  /** The shape that is chosen, with its centre at another place. */
  shapeAt([x, y]) {
    const { ellipse, lasso } = this.item
    if (ellipse) return { ellipse: [x, y, ...ellipse.slice(2)] }
    if (!lasso) return {}
    const [fromX, fromY] = centreOf(this.item)
    return { lasso: lasso.map(([px, py]) => [px + x - fromX, py + y - fromY]) }
  }

  /** Dragging a shape by its centre, or an ellipse by its size. */
  shapeDrag(from) {
    const { item } = this
    if (this.chosen === CAMERA || !item || item.mask !== undefined) return null
    const past = this.value
    if (item.ellipse) {
      const [x, y, across, down] = item.ellipse
      if (this.near(this.pixels([x + across * Math.SQRT1_2, y + down * Math.SQRT1_2]), from)) {
        const radius = (value) => Math.min(1, Math.max(0.005, Math.abs(value) * Math.SQRT2))
        return {
          move: (to) => {
            const [toX, toY] = this.share(to)
            this.edit({ ellipse: [x, y, radius(toX - x), radius(toY - y)] }, past)
          }
        }
      }
    }
    if (!this.near(this.pixels(centreOf(item)), from)) return null
    return {
      move: (to) => {
        const [dx, dy] = this.share([to[0] - from[0], to[1] - from[1]])
        const [x, y] = centreOf(item)
        // From where it was when the drag began.
        const path = item.path?.map(([px, py]) => [px + dx, py + dy])
        this.edit({ ...this.shapeAt([x + dx, y + dy]), path }, past)
      }
    }
  }

  /** Drawing a new path of what lies under the pointer, of what is chosen, or of a first object; a click only chooses. */
  path(event, from) {
    const under = event.target.closest?.('[data-object]')?.dataset.object
    if (under !== undefined && this.chosen !== Number(under)) this.choose(Number(under))
    const past = this.value
    const samples = [[...from, event.timeStamp]]
    // A shape of no picture is put where its path begins; one that marks something in a picture stays there.
    const shape = this.item && under === undefined && !this.picture() ? this.shapeAt(this.share(from)) : {}
    return {
      move: (to, moved) => {
        samples.push([...to, moved.timeStamp])
        if (distance(from, to) > NEAR * this.unit || samples.moved) {
          samples.moved = true
          if (!this.item) this.addEllipse(this.share(from))
          this.edit({ ...shape, ...this.pathOf(samples) }, past)
        }
      },
      end: () => {
        this.handle = -1
        this.draw()
      }
    }
  }

  /** The path of samples [x, y, milliseconds], and the times at which its points were drawn. */
  pathOf(samples) {
    const points = simplified(samples, TOLERANCE)
    const [began, lasted] = [samples[0][2], Math.max(1, samples.at(-1)[2] - samples[0][2])]
    const times = points.map(([, , time]) => Math.min(1, Math.max(0, (time - began) / lasted)))
    return { path: points.map((point) => this.share(point)), times: times.sort((one, other) => one - other) }
  }

  lasso(from) {
    const samples = [[...from, 0]]
    return {
      move: (to) => {
        samples.push([...to, samples.length])
        this.stage.append(svg('polygon', { class: 'fastvmt-lasso', points: samples.map(([x, y]) => `${x},${y}`).join(' ') }))
        this.stage.lastChild.previousElementSibling?.matches('.fastvmt-lasso') && this.stage.lastChild.previousElementSibling.remove()
      },
      end: () => {
        this.lassoing = false
        const points = simplified(samples, TOLERANCE).map((point) => this.share(point))
        if (points.length < 3) return this.draw()
        const [x, y] = centreOf({ lasso: points })
        this.add({ lasso: points, path: [[x, y], [x + (x < 0.5 ? 0.3 : -0.3), y]] })
      }
    }
  }

  press(event) {
    const key = event.key.toLowerCase()
    // Ctrl+Z is the page's own, which sees it before us, and takes the workflow back by a step.
    if (event.target !== this.stage || event.ctrlKey || event.metaKey) return event.stopPropagation()
    if (!this.stroke(event, key)) return
    // Or the page would delete the node or move the canvas.
    event.stopPropagation()
    event.preventDefault()
  }

  /** A key on the stage; whether it means something here. */
  stroke(event, key) {
    const path = this.item?.path ?? []
    const step = event.shiftKey ? 10 : 1
    const by = { arrowleft: [-step, 0], arrowright: [step, 0], arrowup: [0, -step], arrowdown: [0, step] }[key]
    const handles = handlesOf(path).length
    if (by && path.length) {
      const number = this.handle < 0 ? handles - 1 : this.handle
      this.handle = number
      this.edit({ path: bent(path, number, this.share(by)) })
    } else if (key === '[' || key === ']') {
      this.handle = (Math.max(0, this.handle) + (key === ']' ? 1 : handles - 1)) % Math.max(1, handles)
      this.draw()
    } else if (key === 'enter' && path.length) {
      const [x, y] = path.at(-1)
      this.handle = -1
      this.edit({ path: [...path, [Math.min(0.95, x + 0.05), y]], times: undefined, speed: this.item.speed === 'timed' ? undefined : this.item.speed })
    } else if (key === 'delete' || key === 'backspace') this.removeChosen()
    else if (key === ' ') this.play()
    else return false
    return true
  }
}
