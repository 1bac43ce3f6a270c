// Opens the form for a credential in a frame over the page that loads this script. The form belongs to the service: typed
// values never reach this page, which gets events without the value of any field.
'use strict';
(() => {
  const service = new URL(document.currentScript.src).origin;
  // How long the frame may take to load, and to send its first message after that.
  const longestLoad = 20_000;
  const longestSilence = 3_000;
  // The events and their members.
  const events = {
    ready: [],
    tested: ['outcome', 'class'],
    saved: ['connection', 'title', 'connector', 'status'],
    closed: ['saved'],
    error: ['code', 'message'],
  };

  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    .headwater-form { inline-size: 100vw; block-size: 100dvh; max-inline-size: none; max-block-size: none; padding: 0; border: 0; overflow: hidden; }
    .headwater-form::backdrop { background: #161b2680; }
    .headwater-form iframe { display: block; inline-size: 100%; block-size: 100%; border: 0; }
    @media (width > 66rem) { .headwater-form { inline-size: 62rem; block-size: min(54rem, 100dvh - 3rem); border-radius: 14px; } }
  `);
  document.adoptedStyleSheets.push(sheet);

  function open({ url, token, theme = {}, title = 'Credential' } = {}) {
    if (typeof url !== 'string' || typeof token !== 'string') throw new TypeError('Headwater.open needs the url and the token of an embed');
    const address = new URL(url, service);
    if (address.origin !== service) throw new TypeError('the url of an embed has to have the address of embed.js');
    const listeners = Object.fromEntries(Object.keys(events).map((event) => [event, []]));
    const frame = document.createElement('iframe');
    Object.assign(frame, { src: address.href, title, allow: 'clipboard-write' });
    const dialog = document.createElement('dialog');
    dialog.className = 'headwater-form';
    dialog.setAttribute('aria-label', title);
    dialog.append(frame);
    let isOpen = true;
    let hasSpoken = false;
    let wasSaved = false;

    function emit(event, data = {}) {
      for (const listener of listeners[event]) {
        try {
          listener(data);
        } catch (error) {
          reportError(error);
        }
      }
    }

    function finish() {
      if (!isOpen) return;
      isOpen = false;
      clearTimeout(timer);
      removeEventListener('message', receive);
      dialog.close();
      dialog.remove();
      emit('closed', { saved: wasSaved });
    }

    function fail(code, message) {
      emit('error', { code, message });
      finish();
    }

    const send = (message) => frame.contentWindow.postMessage(message, service);

    function receive({ source, origin, data }) {
      if (source !== frame.contentWindow || origin !== service) return;
      const { headwater: event, ...members } = data ?? {};
      if (event === 'hello') {
        hasSpoken = true;
        clearTimeout(timer);
        send({ headwater: 'start', token, theme });
        frame.focus();
      } else if (event === 'closed') {
        finish();
      } else if (Object.hasOwn(events, event)) {
        wasSaved ||= event === 'saved';
        emit(event, Object.fromEntries(events[event].map((name) => [name, members[name]])));
      }
    }

    let timer = setTimeout(() => fail('unreachable', 'the frame did not load'), longestLoad);
    frame.addEventListener('load', () => {
      if (hasSpoken || !isOpen) return;
      clearTimeout(timer);
      timer = setTimeout(() => fail('blocked', 'the frame was not shown; the embed may belong to another origin or have expired'), longestSilence);
    });
    // The form asks before typed values are lost.
    dialog.addEventListener('cancel', (event) => {
      event.preventDefault();
      if (hasSpoken) send({ headwater: 'close' });
      else finish();
    });
    dialog.addEventListener('close', finish);
    addEventListener('message', receive);
    document.body.append(dialog);
    dialog.showModal();

    const handle = {
      on(event, listener) {
        if (!Object.hasOwn(events, event)) throw new TypeError(`unknown event ${event}; choose one of ${Object.keys(events).join(', ')}`);
        listeners[event].push(listener);
        return handle;
      },
      close: finish,
    };
    return handle;
  }

  window.Headwater = Object.freeze({ open });
})();
