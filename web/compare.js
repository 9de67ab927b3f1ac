// A button on Compare that opens the page it wrote. The host's own page would only download it.

import { api } from '../../scripts/api.js'
import { app } from '../../scripts/app.js'
import { loadWords, say } from './words.js'

const NODE = 'FastVMTCompare'
const POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; media-src blob:"

app.registerExtension({
  name: 'FastVMT.Compare',

  init: loadWords,

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return
    let file = null
    // The name is the text: Nodes 2.0 shows no label on a button.
    const button = node.addWidget('button', say('openPage'), null, () => file && open(file), { serialize: false })
    button.disabled = true
    // Not kept in the workflow, where it would take the place of a widget to come.
    button.serialize = false
    const executed = node.onExecuted
    node.onExecuted = function (output, ...others) {
      file = output?.fastvmt_page?.[0] ?? file
      button.disabled = !file
      node.setDirtyCanvas(true, true)
      return executed?.call(this, output, ...others)
    }
  }
})

/** Show a file of the output folder in a tab of its own, where it can reach neither this page nor the server. */
async function open(file) {
  // Before anything is awaited, or the browser would take it for an advertisement.
  const tab = window.open('', '_blank')
  let text
  try {
    const answer = await api.fetchApi(`/view?${new URLSearchParams(file)}`)
    if (answer.status !== 200) throw new Error(answer.statusText)
    text = await answer.text()
  } catch (error) {
    console.error('FastVMT:', error)
    tab?.close()
    app.extensionManager?.toast?.add({ severity: 'error', summary: say('pageGone', { name: file.filename }), life: 6000 })
    return
  }
  if (!tab) return
  // A frame of this document has its policy: a file without its own reaches no server either.
  const policy = tab.document.createElement('meta')
  policy.httpEquiv = 'Content-Security-Policy'
  policy.content = POLICY
  tab.document.head.append(policy)
  const frame = tab.document.createElement('iframe')
  // Without allow-same-origin: a script in a file must not act as this page.
  frame.sandbox = 'allow-scripts'
  frame.allow = 'clipboard-write *'
  frame.style.cssText = 'position: fixed; inset: 0; width: 100%; height: 100%; border: 0'
  frame.srcdoc = text
  tab.document.title = file.filename
  tab.document.body.append(frame)
}
