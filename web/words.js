// The page's words, in the user's language, from locales/*/main.json.

import { api } from '../../scripts/api.js'
import { app } from '../../scripts/app.js'

let words = {}
let nodes = {}
let loading = null

/** Fetch the words of the user's language, once; what is missing stays English. */
export function loadWords() {
  loading ??= fetchWords()
  return loading
}

async function fetchWords() {
  try {
    const answer = await api.fetchApi('/i18n')
    const all = await answer.json()
    const language = app.extensionManager?.setting?.get('Comfy.Locale') ?? 'en'
    words = { ...all.en?.fastvmt, ...all[language]?.fastvmt }
    nodes = all[language]?.nodeDefs ?? {}
  } catch (error) {
    console.warn('FastVMT: no translations:', error)
  }
}

/** The translation of a node type: display_name, inputs, outputs; undefined where there is none. */
export function wordsOf(type) {
  return nodes[type]
}

/** The text of a key with its {placeholders} filled in. */
export function say(key, values = {}) {
  const text = words[key] ?? ENGLISH[key] ?? key
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole)
}

const ENGLISH = {
  idle: 'Run it: loss and motion show here while it samples.',
  waiting: 'Guidance begins.',
  guiding: 'Guided step {step} of {steps}',
  sampling: 'Step {step} of {steps}',
  done: 'Done in {time}: {steps} guided steps',
  stopped: 'Stopped',
  left: '{time} left',
  fresh: 'fresh gradients {count}',
  reused: 'reused {count}',
  loss: 'loss',
  reference: 'Reference',
  latent: 'This video',
  apart: '{distance} tokens apart',
  frame: 'frame {from} → {to}',
  noFlow: 'No arrows: the motion has a single frame.',
  curveStart: 'pure noise',
  curveEnd: 'end_percent',
  curveHelp: 'Drag points. Double-click: add, remove.',
  curveReset: 'Reset',
  refused: 'Not run: a part of this workflow was refused',
  upload: 'upload a motion',
  uploadFailed: '{name} could not be uploaded.',
  openPage: 'open the page',
  pageGone: '{name} is no longer in the output folder.',
  drawEllipse: 'Add an ellipse',
  drawLasso: 'Draw an outline',
  drawMask: 'Add an object from the masks input',
  drawUndo: 'Undo',
  drawRemove: 'Delete what is chosen (Del)',
  drawPlay: 'Play (Space)',
  drawCamera: 'Camera',
  drawKeys: 'Drawing. Arrow keys move a point of the path, [ and ] choose one, Enter adds one, Delete removes the object, Space plays.',
  drawHintEmpty: 'Drag to draw a path. ◯ adds an ellipse, ✎ an outline of your own.',
  drawHintPath: 'Object {name}: drag to draw its path. ■ moves it, the small circle sizes it.',
  drawHintCamera: 'Camera: drag to draw where it goes. Dashed: what it sees in the end.',
  drawHintLasso: 'Draw the outline of the object.',
  drawBroken: 'This text is no drawing. Draw to replace it.',
  drawSpeed: 'speed',
  drawSpeed_even: 'even',
  drawSpeed_ease: 'ease in and out',
  drawSpeed_ease_in: 'ease in',
  drawSpeed_ease_out: 'ease out',
  drawSpeed_timed: 'as drawn',
  draw_turn: 'turn °',
  draw_scale: 'size ×',
  draw_zoom: 'zoom ×',
  draw_parallax: 'parallax',
  draw_shake: 'shake',
  draw_seed: 'seed',
  draw_mask: 'mask number'
}
