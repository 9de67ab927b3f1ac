// A button on Load Motion that brings a motion file to the server, into input/fastvmt_motion, where the node finds it.

import { api } from '../../scripts/api.js'
import { app } from '../../scripts/app.js'
import { html } from './dom.js'
import { loadWords, say } from './words.js'

const NODE = 'FastVMTLoadMotion'
const WIDGET = 'motion'
const FOLDER = 'fastvmt_motion'
const ENDING = '.safetensors'

app.registerExtension({
  name: 'FastVMT.MotionUpload',

  init: loadWords,

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return
    const picker = html('input', { type: 'file', accept: ENDING })
    picker.addEventListener('change', () => {
      for (const file of picker.files) bring(node, file)
      picker.value = ''
    })
    // The name is the text: Nodes 2.0 shows no label on a button.
    const button = node.addWidget('button', say('upload'), null, () => picker.click(), { serialize: false })
    // Nor kept in the workflow, where it would take the place of a widget to come.
    button.serialize = false
    node.fastvmtPicker = picker
    node.onDragOver = (event) => [...(event.dataTransfer?.items ?? [])].some((item) => item.kind === 'file')
    node.onDragDrop = (event) => {
      const files = [...event.dataTransfer.files].filter((file) => file.name.endsWith(ENDING))
      for (const file of files) bring(node, file)
      return files.length > 0
    }
  }
})

/** Upload a file and choose it; the server checks what it holds when the node runs. */
async function bring(node, file) {
  const widget = node.widgets.find((each) => each.name === WIDGET)
  const body = new FormData()
  // A motion of that name in another folder would be found instead of this one.
  body.append('image', file, freeName(file.name, widget.options.values))
  body.append('subfolder', FOLDER)
  body.append('type', 'input')
  let name
  try {
    const answer = await api.fetchApi('/upload/image', { method: 'POST', body })
    if (answer.status !== 200) throw new Error(answer.statusText)
    name = (await answer.json()).name
  } catch (error) {
    console.error('FastVMT:', error)
    app.extensionManager?.toast?.add({ severity: 'error', summary: say('uploadFailed', { name: file.name }), life: 6000 })
    return
  }
  const known = widget.options.values
  if (Array.isArray(known) && !known.includes(name)) known.push(name)
  widget.value = name
  widget.callback?.(name)
  node.setDirtyCanvas(true, true)
}

/** The name, or the first of "name (1)", "name (2)", ... that is not among those that are known. */
function freeName(name, known) {
  if (!Array.isArray(known)) return name
  const stem = name.slice(0, -ENDING.length)
  let free = name
  for (let number = 1; known.includes(free); number++) free = `${stem} (${number})${ENDING}`
  return free
}
