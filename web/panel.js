// What a guided run shows on its node: where it is, the loss so far, and the motion beside the reference's.

import { ArrowView, distance, liveliest } from './arrow_view.js'
import { html } from './dom.js'
import { LossChart } from './loss_chart.js'
import { say } from './words.js'

const FRAME_MS = 350

export class GuidancePanel {
  constructor() {
    this.status = html('span', { class: 'fastvmt-status' })
    this.left = html('span', { class: 'fastvmt-left' })
    this.fresh = html('span', { class: 'fastvmt-key fastvmt-key-fresh' })
    this.reused = html('span', { class: 'fastvmt-key fastvmt-key-reused' })
    this.apart = html('span', { class: 'fastvmt-apart' })
    this.frame = html('span', { class: 'fastvmt-frame' })
    this.settings = html('div', { class: 'fastvmt-settings' })
    this.chart = new LossChart()
    this.views = { reference: new ArrowView('reference'), latent: new ArrowView('latent') }
    const field = (name) => html('figure', {}, html('figcaption', {}, say(name)), this.views[name].element)
    this.element = html(
      'div',
      { class: 'fastvmt-panel', 'data-state': 'idle' },
      html('div', { class: 'fastvmt-row' }, this.status, this.left),
      this.settings,
      this.chart.element,
      html('div', { class: 'fastvmt-row' }, html('span', {}, this.fresh, this.reused), this.apart),
      html('div', { class: 'fastvmt-fields' }, field('reference'), field('latent')),
      html('div', { class: 'fastvmt-row fastvmt-foot' }, this.frame)
    )
    this.plan = null
    this.timer = null
    this.write(this.status, say('idle'))
    this.count()
  }

  /** Take one of the server's messages. */
  take(event, data) {
    if (event === 'settings') this.write(this.settings, data.text)
    else if (event === 'guidance') this.begin(data)
    else if (!this.plan) return
    else if (event === 'step') this.step(data)
    else if (event === 'inner_steps') this.inner(data)
    else if (event === 'guided_step') this.guided(data)
    else if (event === 'picture') this.picture(data)
    else if (event === 'sampled') this.end(true, data.noted)
    else if (event === 'ended') this.end(data.well, data.noted)
  }

  /** The sampling has ended, well or not, at a time in milliseconds. */
  end(well, at = Date.now()) {
    if (this.element.dataset.state !== 'running') return
    this.element.dataset.state = well ? 'done' : 'stopped'
    const time = clock((at - this.started) / 1000)
    this.write(this.status, say(well ? 'done' : 'stopped', { time, steps: this.plan.guided_steps.length }))
    this.due = null
    this.write(this.left, '')
  }

  /** Stop what runs by itself; the node is gone. */
  remove() {
    clearInterval(this.timer)
    this.chart.remove()
    this.timer = null
  }

  begin(plan) {
    this.plan = plan
    this.started = plan.started ?? Date.now()
    this.due = null
    this.shown = plan.reference ? liveliest(plan.reference) : 0
    this.element.dataset.state = 'running'
    this.chart.clear(plan.inner_steps, plan.guided_steps)
    this.views.reference.show(plan.reference)
    this.views.latent.show(null)
    this.views.latent.film(null)
    this.write(this.status, say('waiting'))
    this.write(this.apart, plan.reference ? '' : say('noFlow'))
    this.count()
    // An estimate, until a step has been timed.
    this.expect(plan.memory?.seconds)
    this.drawFrame()
    this.timer ??= setInterval(() => this.tick(), FRAME_MS)
  }

  step({ step, guided, seconds_left }) {
    const { guided_steps, sigmas } = this.plan
    const counted = guided ? [guided_steps.indexOf(step) + 1, guided_steps.length] : [step + 1, sigmas.length - 1]
    this.write(this.status, say(guided ? 'guiding' : 'sampling', { step: counted[0], steps: counted[1] }))
    this.expect(seconds_left)
  }

  inner({ step, first, losses, flow, seconds_left }) {
    this.chart.add(step, first, losses)
    this.count()
    this.expect(seconds_left)
    if (flow) this.latent(flow)
  }

  guided({ flow, seconds_left }) {
    if (flow) this.latent(flow)
    this.expect(seconds_left)
  }

  latent(flow) {
    this.views.latent.show(flow)
    const apart = distance(flow, this.views.reference.flow)
    this.write(this.apart, apart === null ? '' : say('apart', { distance: apart.toFixed(2) }))
    this.drawFrame()
  }

  picture({ picture, frames }) {
    this.views.latent.film(picture, frames)
    this.drawFrame()
  }

  /** Count down from so many seconds. */
  expect(seconds) {
    // Nothing new is known: the count goes on.
    if (seconds === null || seconds === undefined) return
    this.due = Date.now() + 1000 * seconds
    this.countDown()
  }

  countDown() {
    if (this.due !== null) this.write(this.left, say('left', { time: clock(Math.max(0, this.due - Date.now()) / 1000) }))
  }

  count() {
    const { fresh, reused } = this.chart.counts
    this.write(this.fresh, say('fresh', { count: fresh }))
    this.write(this.reused, say('reused', { count: reused }))
  }

  /** Next frame, next second. Does nothing where nobody can see it. */
  tick() {
    if (!this.element.isConnected || document.hidden) return
    if (this.element.dataset.state === 'running') this.countDown()
    const flow = this.views.reference.flow
    if (!flow || matchMedia('(prefers-reduced-motion: reduce)').matches) return
    this.shown = (this.shown + 1) % flow.frames.length
    this.drawFrame()
  }

  drawFrame() {
    if (!this.views.reference.flow) return
    for (const view of Object.values(this.views)) view.draw(this.shown)
    this.write(this.frame, say('frame', { from: this.shown + 1, to: this.shown + 2 }))
  }

  write(element, text) {
    if (element.textContent !== text) element.textContent = text
  }
}

function clock(seconds) {
  const whole = Math.round(seconds)
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60]
  const two = (number) => String(number).padStart(2, '0')
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`
}
