// What the browser tests say about a page: by the words that people see, in what is open on top.

const tidy = (text) => (text ?? '').replace(/\s+/g, ' ').trim();
const top_ = () => [...document.querySelectorAll('dialog[open]')].at(-1) ?? document;

function isShown(element) {
  const box = element.getBoundingClientRect();
  return element.checkVisibility({ visibilityProperty: true }) && box.width > 0 && box.height > 0 && !element.closest('[aria-hidden="true"]');
}

/** The words of an element as they are read out. */
function wordsOf(element) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const words = [];
  while (walker.nextNode()) {
    if (!walker.currentNode.parentElement.closest('[aria-hidden="true"], [hidden]')) words.push(walker.currentNode.data);
  }
  return tidy(words.join(' '));
}

function nameOf(element) {
  const label = element.labels?.[0];
  return element.getAttribute('aria-label') ?? wordsOf(label ?? element);
}

/** The one that is called so; else the shortest name that begins so. */
function named(selector, name) {
  const found = [...top_().querySelectorAll(selector)].filter(isShown).map((element) => ({ element, name: nameOf(element) }));
  const like = found.filter((one) => one.name.startsWith(name)).sort((a, b) => a.name.length - b.name.length);
  return (like.find((one) => one.name === name) ?? like[0])?.element ?? null;
}

function centred(element) {
  element?.scrollIntoView({ block: 'center', inline: 'center', behavior: 'instant' });
  return element;
}

const field = (name) => named('input, select, textarea', name);
const control = (name) => named('button, a[href], summary, input[type="radio"], input[type="checkbox"]', name);
