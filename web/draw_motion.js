// The drawing of Draw Motion, on the node: shapes and their paths are drawn with the mouse or moved with the keys. The
// value is JSON; the server checks it.

import { app } from '../../scripts/app.js'
import { html, set, svg, useStyles } from './dom.js'
import { CAMERA, COLOURS, MOST_OBJECTS, SPEEDS, parsed, written } from './drawing.js'
import { Gestures } from './drawing_gestures.js'
import { drawn } from './drawing_view.js'
import { whenResized } from './resize.js'
import { loadWords, say } from './words.js'

const TYPE = 'FASTVMT_DRAWING'
const HEIGHT = 400
const MOST_UNDO = 100
const NUMBERS = {
  turn: { step: 5, from: -3600, to: 3600, plain: 0 },
  scale: { step: 0.1, from: 0.1, to: 10, plain: 1 },
  parallax: { step: 0.1, from: 0, to: 1, plain: 0 },
  shake: { step: 0.002, from: 0, to: 0.2, plain: 0 },
  seed: { step: 1, from: 0, to: 4294967295, plain: 0 }
}
const OF_OBJECT = ['turn', 'scale']
const OF_CAMERA = ['turn', 'scale', 'parallax', 'shake', 'seed']

app.registerExtension({
  name: 'FastVMT.DrawMotion',

  init() {
    useStyles()
    return loadWords()
  },

  getCustomWidgets() {
    return {
      [TYPE](node, name) {
        const drawing = new DrawMotion(node, () => widget.callback?.(drawing.value))
        const widget = node.addDOMWidget(name, TYPE, drawing.element, {
          hideOnZoom: false,
          getMinHeight: () => HEIGHT,
          getValue: () => drawing.value,
          setValue: (value) => drawing.take(value)
        })
        const removed = widget.onRemove
        widget.onRemove = function (...given) {
          drawing.remove()
          return removed?.apply(this, given)
        }
        return { widget }
      }
    }
  }
})

class DrawMotion extends Gestures {
  constructor(node, changed) {
    super()
    Object.assign(this, { node, changed, value: '', past: [], chosen: 0, handle: -1, lassoing: false, playing: 0, unit: 1 })
    this.drawing = parsed('')
    this.stage = svg('svg', { class: 'fastvmt-stage', tabindex: 0, role: 'application', 'aria-label': say('drawKeys') })
    this.items = html('div', { class: 'fastvmt-items', role: 'radiogroup' })
    this.numbers = html('div', { class: 'fastvmt-numbers' })
    this.hint = html('span', { class: 'fastvmt-hint', role: 'status' })
    this.buttons = {
      ellipse: this.button('◯', 'drawEllipse', () => this.addEllipse()),
      lasso: this.button('✎', 'drawLasso', () => this.startLasso()),
      mask: this.button('▣', 'drawMask', () => this.addMask()),
      undo: this.button('↶', 'drawUndo', () => this.undo()),
      remove: this.button('✕', 'drawRemove', () => this.removeChosen()),
      play: this.button('▶', 'drawPlay', () => this.play())
    }
    const tools = html('div', { class: 'fastvmt-tools' }, ...Object.values(this.buttons))
    this.element = html(
      'div',
      { class: 'fastvmt-draw' },
      html('div', { class: 'fastvmt-row' }, this.items, tools),
      this.stage,
      this.numbers,
      html('div', { class: 'fastvmt-row' }, this.hint)
    )
    this.stage.addEventListener('pointerdown', (event) => this.grab(event))
    this.stage.addEventListener('dblclick', (event) => event.stopPropagation())
    this.element.addEventListener('keydown', (event) => this.press(event))
    this.element.addEventListener('pointerenter', () => this.draw())
    const ended = whenResized(this.stage, () => this.draw())
    this.remove = () => {
      ended()
      cancelAnimationFrame(this.playing)
    }
    this.draw()
  }

  button(sign, word, act) {
    const button = html('button', { type: 'button', title: say(word), 'aria-label': say(word) }, sign)
    button.addEventListener('click', act)
    return button
  }

  /** Take a saved value; what is no drawing is kept as it is, for the server to refuse. */
  take(value) {
    const text = typeof value === 'string' ? value : ''
    // Nodes 2.0 gives back what was just drawn, in the middle of a gesture.
    if (text === this.value) return
    this.value = text
    this.drawing = parsed(text) ?? parsed('')
    if (this.chosen !== CAMERA) this.chosen = Math.max(0, Math.min(this.chosen, this.drawing.objects.length - 1))
    this.handle = -1
    this.draw()
  }

  /** Take a drawing that a person changed; `past` is the value to which undo leads back. */
  put(drawing, past = this.value) {
    if (this.past.at(-1) !== past) this.past = [...this.past, past].slice(-MOST_UNDO)
    this.drawing = drawing
    this.value = written(drawing)
    this.draw()
    this.changed()
  }

  undo() {
    if (!this.past.length) return
    const value = this.past.pop()
    this.take(value)
    this.changed()
  }

  /** Width and height of the frame, pixels. */
  get size() {
    const value = (name) => Number(this.node.widgets?.find((widget) => widget.name === name)?.value)
    return [value('width') || 832, value('height') || 480]
  }

  /** What is chosen: an object, the camera, or nothing yet. */
  get item() {
    return this.chosen === CAMERA ? this.drawing.camera : this.drawing.objects[this.chosen]
  }

  /** Change what is chosen; a value of undefined leaves the field out. */
  edit(fields, past) {
    const item = JSON.parse(JSON.stringify({ ...this.item, ...fields }))
    const objects = this.drawing.objects.map((each, index) => (index === this.chosen ? item : each))
    this.put({ objects, camera: this.chosen === CAMERA ? item : this.drawing.camera }, past)
  }

  add(object) {
    if (this.drawing.objects.length >= MOST_OBJECTS) return
    this.chosen = this.drawing.objects.length
    this.handle = -1
    this.put({ ...this.drawing, objects: [...this.drawing.objects, object] })
  }

  /** Add an ellipse at a place of the frame, or at the next free one. */
  addEllipse([x, y] = [0.25, 0.2 + 0.2 * (this.drawing.objects.length % 4)]) {
    const [width, height] = this.size
    const radius = 0.13 * Math.min(width, height)
    this.add({ ellipse: [x, y, radius / width, radius / height], path: [[x, y], [0.75, y]] })
    this.stage.focus()
  }

  addMask() {
    const taken = this.drawing.objects.map((each) => each.mask ?? -1)
    this.add({ mask: Math.max(-1, ...taken) + 1, path: [[0.3, 0.5], [0.7, 0.5]] })
  }

  startLasso() {
    this.lassoing = !this.lassoing && this.drawing.objects.length < MOST_OBJECTS
    this.draw()
  }

  removeChosen() {
    if (this.chosen === CAMERA) return this.put({ ...this.drawing, camera: {} })
    if (!this.item) return
    const objects = this.drawing.objects.filter((_, index) => index !== this.chosen)
    this.chosen = Math.max(0, Math.min(this.chosen, objects.length - 1))
    this.handle = -1
    this.put({ ...this.drawing, objects })
  }

  choose(item) {
    this.chosen = item
    this.handle = -1
    this.draw()
  }

  /** Show the whole clip at its speed, once. */
  play() {
    cancelAnimationFrame(this.playing)
    const value = (name, plain) => Number(this.node.widgets?.find((widget) => widget.name === name)?.value) || plain
    const seconds = Math.max(0.3, value('length', 81) / value('fps', 16))
    let began
    const step = (now) => {
      began ??= now
      const time = (now - began) / 1000 / seconds
      this.draw(time < 1 ? time : undefined)
      this.playing = time < 1 ? requestAnimationFrame(step) : 0
    }
    this.playing = requestAnimationFrame(step)
  }

  draw(time) {
    const { size, drawing, chosen } = this
    const box = [this.stage.clientWidth || 320, this.stage.clientHeight || 200]
    this.unit = Math.max(size[0] / box[0], size[1] / box[1])
    set(this.stage, { viewBox: `0 0 ${size[0]} ${size[1]}`, 'data-state': time === undefined ? 'still' : 'playing' })
    this.stage.replaceChildren(...drawn({ drawing, chosen, handle: this.handle, size, unit: this.unit, time, picture: this.picture() }))
    if (time === undefined) this.drawItems()
  }

  /** The address of the picture that is connected, if its node shows one. */
  picture() {
    const slot = this.node.inputs?.find((each) => each.name === 'picture')
    const link = slot?.link != null && this.node.graph?.links?.[slot.link]
    return link ? this.node.graph.getNodeById(link.origin_id)?.imgs?.[0]?.src : undefined
  }

  drawItems() {
    const entries = [...this.drawing.objects.keys(), CAMERA]
    // Kept while they are the same: one that is being clicked, or has the focus, must not be replaced.
    if (this.items.childElementCount !== entries.length) this.items.replaceChildren(...entries.map((item) => this.chip(item)))
    entries.forEach((item, index) => set(this.items.children[index], { 'aria-checked': item === this.chosen }))
    const full = this.drawing.objects.length >= MOST_OBJECTS
    for (const name of ['ellipse', 'lasso', 'mask']) this.buttons[name].disabled = full
    this.buttons.undo.disabled = !this.past.length
    this.buttons.remove.disabled = !this.item || (this.chosen === CAMERA && !Object.keys(this.item).length)
    set(this.buttons.lasso, { 'aria-pressed': this.lassoing })
    this.hint.textContent = say(this.hintWord(), { name: this.chosen === CAMERA ? say('drawCamera') : this.chosen + 1 })
    // Not while one of them is typed into: it would lose the focus.
    if (!this.numbers.contains(document.activeElement)) this.drawNumbers()
  }

  /** The button that chooses an object or the camera. */
  chip(item) {
    const name = item === CAMERA ? say('drawCamera') : String(item + 1)
    const chip = html('button', { type: 'button', role: 'radio' }, name)
    if (item !== CAMERA) chip.style.setProperty('--fastvmt-object', COLOURS[item])
    chip.className = item === CAMERA ? 'fastvmt-chip fastvmt-chip-camera' : 'fastvmt-chip'
    chip.addEventListener('click', () => this.choose(item))
    return chip
  }

  hintWord() {
    if (parsed(this.value) === null) return 'drawBroken'
    if (this.lassoing) return 'drawHintLasso'
    if (this.chosen === CAMERA) return 'drawHintCamera'
    return this.item ? 'drawHintPath' : 'drawHintEmpty'
  }

  drawNumbers() {
    const { item } = this
    if (!item) return this.numbers.replaceChildren()
    const speed = html('select', { 'aria-label': say('drawSpeed') })
    const speeds = SPEEDS.filter((each) => each !== 'timed' || item.times?.length)
    speed.append(...speeds.map((each) => html('option', { value: each }, say(`drawSpeed_${each.replace(' ', '_')}`))))
    speed.value = item.speed ?? 'even'
    speed.addEventListener('change', () => this.edit({ speed: speed.value === 'even' ? undefined : speed.value }))
    const fields = (this.chosen === CAMERA ? OF_CAMERA : OF_OBJECT).map((name) => this.number(name, item))
    const asked = item.mask === undefined ? fields : [this.number('mask', item, { step: 1, from: 0, to: 9999 }), ...fields]
    this.numbers.replaceChildren(html('label', {}, say('drawSpeed'), speed), ...asked)
  }

  number(name, item, { step, from, to, plain } = NUMBERS[name]) {
    const input = html('input', { type: 'number', step, min: from, max: to, value: item[name] ?? plain })
    input.addEventListener('change', () => {
      const value = Math.min(to, Math.max(from, Number(input.value) || 0))
      input.value = value
      this.edit({ [name]: value === plain ? undefined : value })
    })
    const word = name === 'scale' && this.chosen === CAMERA ? 'zoom' : name
    return html('label', {}, say(`draw_${word}`), input)
  }
}
