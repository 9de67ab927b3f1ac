// Small helpers to build HTML and SVG elements, and the pack's style sheet.

const SVG = 'http://www.w3.org/2000/svg'

/** An HTML element with attributes and children. */
export function html(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children)
}

/** An SVG element with attributes and children. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children)
}

/** Set attributes of an element; returns it. */
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value))
  return element
}

/** Load the style sheet, once. */
export function useStyles() {
  const address = new URL('./fastvmt.css', import.meta.url).href
  if ([...document.querySelectorAll('link')].some((link) => link.href === address)) return
  document.head.append(html('link', { rel: 'stylesheet', href: address }))
}

function filled(element, attributes, children) {
  set(element, attributes)
  element.append(...children)
  return element
}
