// What the panels of a running job were sent, should the page be loaded again in its middle. Each tab has its own.

const KEY = 'FastVMT.run'

/** Note one of the server's messages for a node. */
export function remember(event, data) {
  const runs = read()
  const run = (runs[data.node] ??= { inner_steps: [], latest: {} })
  if (event === 'settings') run.settings = data
  else if (event === 'guidance') {
    runs[data.node] = { settings: run.settings, guidance: { started: Date.now(), ...data }, inner_steps: [], latest: {} }
  } else if (event === 'inner_steps') {
    // Of the flows the last one is enough.
    run.inner_steps.push({ ...data, flow: null })
    if (data.flow) run.latest.guided_step = data
  } else if (event === 'sampled') delete runs[data.node]
  else run.latest[event] = data
  try {
    sessionStorage.setItem(KEY, JSON.stringify(runs))
  } catch {
    // The tab's room is used up: a page that is loaded again then shows only what comes after.
    forget()
  }
}

/** All that was noted, as [event, data], in an order in which new panels can take it. */
export function recall() {
  return Object.values(read()).flatMap(({ settings, guidance, inner_steps, latest }) => [
    ...(settings ? [['settings', settings]] : []),
    ...(guidance ? [['guidance', guidance]] : []),
    ...inner_steps.map((data) => ['inner_steps', data]),
    ...Object.entries(latest)
  ])
}

/** The job has ended. */
export function forget() {
  sessionStorage.removeItem(KEY)
}

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? {}
  } catch {
    return {}
  }
}
