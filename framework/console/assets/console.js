// The console's one script. Every flow works without it; with it, forms open over their page, fields are validated as
// they are filled in, and tests and runs show live. It stores only the theme in the browser.
'use strict';
(() => {
  const root = document.documentElement;
  root.classList.add('js');
  const texts = JSON.parse(document.querySelector('meta[name="texts"]').content);
  const own = texts.script;

  // ---- Small helpers

  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const fill = (pattern, values) => pattern.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  /** An error text as a sentence, as `sentence.rs` makes it: a first word that is code keeps its first letter. */
  function sentence(text) {
    const trimmed = text.trimEnd();
    const word = trimmed.split(/\s/, 1)[0].replace(/[,;.!?…]+$/, '');
    const isCode = word.startsWith('x-') || /[\p{Uppercase}\d_./:=@]/u.test(word);
    const [first = ''] = trimmed;
    const shown = (isCode ? first : first.toUpperCase()) + trimmed.slice(first.length);
    return shown === '' || /[.!?…`]$/.test(shown) ? shown : `${shown}.`;
  }

  const count = (plural, number) => fill(number === 1 ? plural.one : plural.other, { count: number });
  const icon = (name) => document.getElementById('icons').content.querySelector(`.icon-${name}`).cloneNode(true);

  /** In a frame of another page, a token from that page replaces the cookie. It is stored nowhere else. */
  let token = null;

  const call = (address, options = {}) => fetch(address, {
    ...options,
    credentials: token ? 'omit' : 'same-origin',
    headers: { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) },
  });

  /** Callbacks of a form for the page around it. */
  let around = {
    tested() {},
    refused() {},
    saved(saved, { connection, back }) {
      location.assign(connection ? back : `${back}?added=${encodeURIComponent(saved.name ?? '')}`);
    },
  };

  /** An element with attributes and children; texts become text, never markup. */
  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== undefined && value !== null && value !== false) element.setAttribute(key, value === true ? '' : value);
    }
    element.append(...children.filter((child) => child !== undefined && child !== null));
    return element;
  }

  /** Moments in the reader's own time and language. */
  function localise(inside) {
    const format = new Intl.DateTimeFormat(root.lang, { dateStyle: 'medium', timeStyle: 'short' });
    copies(inside);
    for (const time of all('time[datetime]:not([title])', inside)) {
      time.title = time.textContent;
      time.textContent = format.format(new Date(time.dateTime));
    }
  }

  /** Adds a button that copies a text. */
  function copies(inside) {
    for (const text of all('[data-copy]', inside)) {
      if (text.nextElementSibling) continue;
      const status = make('span', { role: 'status' });
      const button = make('button', { type: 'button', class: 'quiet' }, text.dataset.copy || texts.checks.copy);
      button.addEventListener('click', () => navigator.clipboard?.writeText(text.textContent).then(() => { status.textContent = ` ${texts.checks.copied}`; }));
      text.after(button, status);
    }
  }

  async function page(address) {
    const response = await call(address, { headers: { 'Headwater-Fragment': '1' } });
    if (!response.ok) throw await problem(response);
    return new DOMParser().parseFromString(await response.text(), 'text/html');
  }

  /** Calls `onEvent` with the name and data of each server-sent event of an answer. */
  async function listen(response, onEvent) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let buffer = '';
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      buffer += value.replaceAll('\r', '');
      for (let end = buffer.indexOf('\n\n'); end >= 0; end = buffer.indexOf('\n\n')) {
        const lines = buffer.slice(0, end).split('\n');
        buffer = buffer.slice(end + 2);
        const of = (name) => lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trimStart());
        const data = of('data').join('\n');
        if (data) onEvent(of('event')[0] ?? 'message', JSON.parse(data));
      }
    }
  }

  /** Asks before values are lost. */
  function ask(question, yes, no) {
    return new Promise((answered) => {
      const dialog = make('dialog', { class: 'confirm', role: 'alertdialog', 'aria-labelledby': 'confirm-text' },
        make('h2', { id: 'confirm-text' }, question),
        make('div', { class: 'buttons' },
          make('button', { type: 'button', class: 'quiet', value: 'no' }, no),
          make('button', { type: 'button', class: 'danger', value: 'yes' }, yes)));
      const close = (answer) => {
        dialog.close();
        dialog.remove();
        answered(answer);
      };
      dialog.addEventListener('click', (event) => event.target.value && close(event.target.value === 'yes'));
      dialog.addEventListener('cancel', (event) => {
        event.preventDefault();
        close(false);
      });
      document.body.append(dialog);
      dialog.showModal();
    });
  }

  // ---- Results of tests, in the elements of the server

  const tones = { passed: 'good', warned: 'warn', failed: 'bad', skipped: 'idle' };
  const rank = ['skipped', 'passed', 'warned', 'failed'];

  const isAccess = (check) => check.name.startsWith('access:');

  function checkName(name) {
    if (name.startsWith('access:')) return fill(texts.checks.access, { stream: name.slice(7) });
    return texts.checks.names[name] ?? name.replaceAll('_', ' ');
  }

  function checkRow(check) {
    const tone = tones[check.outcome] ?? 'idle';
    const took = check.latency_ms === undefined ? undefined : make('span', { class: 'took' }, ` ${check.latency_ms} ms`);
    return make('li', { class: 'check', 'data-outcome': tone }, icon(tone),
      make('div', {},
        make('p', { class: 'name' }, `${checkName(check.name)} `, make('span', { class: 'outcome' }, texts.checks[check.outcome] ?? check.outcome), took),
        isAccess(check) && check.outcome === 'passed' ? undefined : make('p', { class: 'message' }, sentence(check.message)),
        check.remedy ? make('p', { class: 'remedy' }, sentence(check.remedy)) : undefined));
  }

  function allowanceRow(one) {
    const number = new Intl.NumberFormat(root.lang, { maximumFractionDigits: 1 });
    const used = one.limit > 0 ? Math.min(100, Math.max(0, Math.round((one.used / one.limit) * 100))) : 0;
    const left = number.format(Math.max(0, one.limit - one.used));
    return make('li', {}, make('span', { class: 'name' }, one.title),
      make('meter', { min: 0, max: 100, low: 60, high: 85, optimum: 0, value: used, 'aria-label': one.title }),
      make('span', { class: 'figures' }, fill(texts.checks.left, { left, limit: number.format(one.limit) })));
  }

  /** Shows a test in a section: its progress, each check, and the verdict. */
  class Result {
    constructor(form) {
      this.form = form;
      this.section = form.querySelector('[data-tested]');
      this.verdict = this.section.querySelector('[data-verdict]');
      this.list = this.section.querySelector('[data-checks]');
      this.after = this.section.querySelector('[data-after]');
      this.progress = form.querySelector('[data-progress]');
    }

    /** Counts the seconds until `work` ends; its button calls `stop`. */
    async during(what, stop, work) {
      const shown = make('span', { 'aria-hidden': 'true' });
      this.ended = [];
      const started = performance.now();
      const tick = () => { shown.textContent = ` ${fill(own.seconds, { seconds: Math.floor((performance.now() - started) / 1000) })} `; };
      const button = make('button', { type: 'button', class: 'quiet' }, own.stop);
      button.addEventListener('click', stop);
      this.progress.replaceChildren(what, shown, button);
      tick();
      const timer = setInterval(tick, 1000);
      try {
        return await work();
      } finally {
        clearInterval(timer);
        this.progress.replaceChildren(...this.ended);
      }
    }

    clear() {
      this.list.replaceChildren();
      this.after.replaceChildren();
      this.verdict.replaceChildren();
      this.section.hidden = true;
    }

    add(check) {
      this.section.hidden = false;
      this.list.append(checkRow(check));
      this.show();
    }

    show() {
      this.section.scrollIntoView({ block: 'nearest' });
    }

    say(tone, words) {
      this.section.hidden = false;
      this.verdict.dataset.outcome = tone;
      this.verdict.replaceChildren(icon(tone), make('span', {}, words));
      this.ended = [make('span', { 'data-outcome': tone }, icon(tone)), make('a', { href: '#test-result' }, words)];
      if (!this.progress.querySelector('button')) this.progress.replaceChildren(...this.ended);
    }

    /** Shows the verdict, the offered change and the allowances. */
    done(report, apply) {
      this.list.replaceChildren(...report.checks.map(checkRow));
      const worst = report.checks.reduce((before, check) => Math.max(before, rank.indexOf(check.outcome)), 0);
      const isDenied = report.checks.some((check) => isAccess(check) && check.outcome === 'warned');
      this.say(tones[rank[worst]], texts.checks[rank[worst] === 'warned' && isDenied ? 'verdict_access' : `verdict_${rank[worst]}`]);
      const after = [];
      if (report.patch && apply) {
        const button = make('button', { type: 'button' }, texts.checks.apply);
        button.addEventListener('click', () => apply(report.patch.set));
        after.push(make('div', { class: 'offer' }, make('p', {}, icon('info'), make('span', {}, sentence(report.patch.message))), button));
      }
      if (report.allowances?.length) after.push(make('ul', { class: 'allowances' }, ...report.allowances.map(allowanceRow)));
      const lines = report.checks.map((check) => `${check.name}: ${check.outcome} (${check.code}): ${check.message}`);
      const when = [`${texts.version}, ${new Date().toISOString()}`, ...(this.request ? [`request ${this.request}`] : [])];
      after.push(make('details', { class: 'to-copy' }, make('summary', {}, texts.checks.details), make('pre', { 'data-copy': true, tabindex: 0 }, [...when, ...lines].join('\n'))));
      this.after.replaceChildren(...after);
      copies(this.after);
      return rank[worst];
    }
  }

  /** Sends a request with a test, and shows each check as it comes. Returns the data of its last event. */
  async function watch(result, address, { headers, ...options }) {
    let end;
    result.clear();
    const response = await call(address, {
      ...options, headers: { ...headers, 'Content-Type': 'application/json', Accept: 'text/event-stream' },
    });
    if (!response.ok) throw await problem(response);
    result.request = response.headers.get('X-Request-Id');
    await listen(response, (name, data) => {
      if (options.signal.aborted) return;
      if (name === 'check') result.add(data);
      if (name === 'done') end = data;
    });
    if (!end) throw new TypeError('the answer broke off');
    return end;
  }

  /** Runs a probe and shows it. Returns its report. */
  async function probe(result, address, body, signal, apply) {
    const report = await watch(result, address, { method: 'POST', signal, body: JSON.stringify(body) });
    result.done(report, apply);
    return report;
  }

  /** The problem of a refused request, as an error to throw. */
  async function problem(response) {
    return refusal(response.status, await response.json().catch(() => ({})));
  }

  function refusal(status, problem) {
    const error = new Error(problem.detail ?? problem.title ?? own.refused);
    // An input outside of the config has a member instead of a pointer.
    error.errors = (problem.errors ?? []).map((one) => (one.member ? { ...one, pointer: `/${one.member}` } : one));
    error.report = problem.report;
    error.request = problem.request_id;
    error.code = problem.code;
    if (status === 401 && !token) error.message = own.signed_out;
    if (status === 412) error.message = own.conflict;
    return error;
  }

  /** The reason of a failed request. */
  const reason = (error) => (error instanceof TypeError ? own.no_answer : error.message);

  // ---- The values of a form, typed as the server types them

  const keys = (pointer) => pointer.split('/').slice(1).map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));

  /** An object without a prototype, so that `__proto__` is a field like any other. */
  const object = () => Object.create(null);

  function put(config, pointer, value) {
    const path = keys(pointer);
    const last = path.pop();
    let node = config;
    for (const key of path) node = node[key] ??= object();
    node[last] = value;
  }

  const at = (config, pointer) => keys(pointer).reduce((node, key) => node?.[key], config);

  /** A number with its spelling, if the browser can keep it. */
  const exact = (text) => (JSON.rawJSON ? JSON.rawJSON(text) : Number(text));

  const parsed = (text) => JSON.parse(text, (_, value, context) => (typeof value === 'number' ? exact(context?.source ?? String(value)) : value));

  /** Whether two values are the same, however their numbers are written: 5.0 is 5. */
  const isSame = (one, other) => comparable(one) === comparable(other);
  const comparable = (value) => JSON.stringify(value, (_, one) => {
    if (!JSON.isRawJSON?.(one)) return one;
    const number = Number(one.rawJSON);
    return Number.isSafeInteger(number) || !/^-?\d+$/.test(one.rawJSON) ? number : one.rawJSON;
  });

  const typed = (input) => (input.dataset.value === undefined ? undefined : parsed(input.dataset.value));

  // White space, as the server defines it.
  const trim = (text) => text.replace(/^\p{White_Space}+|\p{White_Space}+$/gu, '');

  function scalar(kind, text) {
    if (text === '') return undefined;
    if (kind === 'boolean' && /^(true|false)$/.test(text)) return text === 'true';
    const trimmed = trim(text);
    const isNumber = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(trimmed) && Number.isFinite(Number(trimmed));
    return (kind === 'integer' || kind === 'number') && isNumber ? exact(trimmed) : text;
  }

  /** The value of one field; undefined if it is empty or the default. */
  function valueOf(field) {
    const kind = field.dataset.kind;
    let value;
    if (kind === 'secret') {
      const typedNow = field.querySelector('[data-secret]')?.value;
      return typedNow || (field.querySelector('[name="remove"]')?.checked ? null : undefined);
    }
    const inputs = all('[name]', field).filter((input) => input.closest('[data-pointer]') === field);
    if (kind === 'tag') {
      const chosen = inputs.map((input) => input.selectedOptions?.[0] ?? input).find((input) => input.checked || input.selected || input.type === 'hidden');
      return chosen && typed(chosen);
    }
    if (field.classList.contains('kept')) {
      const values = inputs.map(typed);
      value = kind === 'list' ? values : values[0];
      if (kind === 'list' && !values.length) value = undefined;
    } else if (kind === 'boolean') {
      value = inputs.at(-1).checked;
    } else if (kind === 'choices') {
      value = inputs.filter((input) => input.checked).map(typed);
    } else if (kind === 'choice') {
      value = typed(inputs[0].selectedOptions[0]);
    } else if (kind.startsWith('list-')) {
      value = inputs[0].value.split('\n').map((line) => scalar(kind.slice(5), trim(line))).filter((one) => one !== undefined);
    } else {
      value = scalar(kind, inputs[0].value);
    }
    const standard = field.dataset.default;
    if (Array.isArray(value) && !value.length && standard === undefined) return undefined;
    if (standard !== undefined && isSame(value, parsed(standard))) return undefined;
    return value;
  }

  const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value) && !JSON.isRawJSON?.(value);

  /** The JSON Merge Patch from one config to another; an absent value would stay, so it becomes null. */
  function difference(before, after) {
    const change = object();
    for (const name of Object.keys(before)) if (!(name in after)) change[name] = null;
    for (const [name, value] of Object.entries(after)) {
      if (name in before && isSame(before[name], value)) continue;
      change[name] = isObject(before[name]) && isObject(value) ? difference(before[name], value) : value;
    }
    return change;
  }

  // ---- The form of a credential

  /** The longest automatic wait for a service, in seconds. */
  const LONGEST_WAIT = 600;

  class CredentialForm {
    constructor(form) {
      this.form = form;
      this.result = new Result(form);
      // The page for authors calls no connector.
      this.isPreview = form.closest('[data-author]') !== null;
      this.touched = new Set();
      this.judged = 0;
      this.found = [];
      this.work = null;
      this.wasSubmitted = false;
      this.dress(form);
      this.branches();
      // A page with unsaved values also has the saved ones.
      const { saved } = form.dataset;
      this.before = this.state();
      this.savedConfig = saved ? parsed(saved) : this.config();
      for (const input of all('[data-destination] [name]', form)) {
        const field = input.closest('[data-pointer]');
        const standard = JSON.parse(field.dataset.default ?? '""');
        input.dataset.before = saved ? at(this.savedConfig, field.dataset.pointer) ?? standard : input.value;
      }
      form.addEventListener('input', (event) => this.changed(event));
      form.addEventListener('change', (event) => this.changed(event));
      form.addEventListener('focusin', (event) => this.guide(event.target.closest('[data-guide]')?.dataset.guide));
      form.addEventListener('focusout', (event) => this.left(event));
      form.addEventListener('click', (event) => this.clicked(event));
      form.addEventListener('submit', (event) => this.submitted(event));
      form.addEventListener('paste', (event) => event.target.matches('[data-secret]') && setTimeout(() => this.tidy(event.target)));
      form.addEventListener('keydown', (event) => this.pressed(event));
      window.addEventListener('blur', () => this.hideSecrets());
    }

    /** Shows the controls that need the script. */
    dress(inside) {
      localise(inside);
      for (const button of all('[data-reveal], [data-from-file]', inside)) button.hidden = false;
      for (const input of all('[data-counter]', inside)) this.counter(input);
      this.resets();
    }

    state() {
      const pairs = [...new FormData(this.form)].filter(([name]) => name !== 'replacing');
      return JSON.stringify(pairs.map(([name, value]) => [name, String(value)]));
    }

    get isDirty() {
      return this.form.isConnected && this.state() !== this.before;
    }

    fields() {
      return all('[data-pointer]', this.form).filter((field) => !field.closest('.branch:disabled'));
    }

    config() {
      const config = object();
      for (const field of this.fields()) {
        const { kind, pointer } = field.dataset;
        if (kind === 'own') continue;
        if (kind === 'group') {
          if (field.hasAttribute('data-required')) put(config, pointer, object());
          continue;
        }
        const value = valueOf(field);
        if (value !== undefined) put(config, pointer, value);
      }
      return config;
    }

    /** The difference from the saved config. */
    change() {
      return difference(this.savedConfig, this.config());
    }

    fieldAt(pointer) {
      if (pointer === '') return undefined;
      const wanted = pointer.startsWith('/config/') ? pointer.slice(7) : pointer;
      const fields = this.fields().filter((field) => {
        const at = field.dataset.pointer;
        return at !== '' && (wanted === at || wanted.startsWith(`${at}/`));
      });
      return fields.at(-1) ?? this.fields().find((field) => field.dataset.kind === 'tag' && field.dataset.pointer.startsWith(`${wanted}/`));
    }

    control(field) {
      return field.querySelector('input:not([type="hidden"], [name="remove"]), select, textarea');
    }

    // -- Errors and notices

    /** Lists the texts about a control in its description, the error first. */
    describe(field) {
      const first = this.control(field);
      if (!first) return;
      const controls = field.dataset.kind === 'tag' || field.dataset.kind === 'choices'
        ? all('input:not([type="hidden"]), select', field).filter((input) => input.closest('[data-pointer]') === field)
        : [first];
      const ids = ['error', 'notice', 'hint', 'calls', 'reason'].map((part) => `${this.idOf(field)}-${part}`);
      const there = ids.filter((id) => this.form.querySelector(`#${CSS.escape(id)}:not([hidden])`));
      for (const control of controls) control.setAttribute('aria-describedby', [...there, control.dataset.when].join(' ').trim());
    }

    idOf(field) {
      const hint = field.querySelector('.hint');
      return hint?.id ? hint.id.slice(0, -'-hint'.length) : this.control(field)?.id;
    }

    error(field, message) {
      const shown = message && sentence(message);
      const id = `${this.idOf(field)}-error`;
      const old = this.form.querySelector(`#${CSS.escape(id)}`);
      if (old?.textContent === shown) return;
      old?.remove();
      for (const control of all('[aria-invalid]', field)) {
        if (control.closest('[data-pointer]') === field) control.removeAttribute('aria-invalid');
      }
      if (message) {
        if (field.dataset.state === 'saved') this.replace(field);
        const text = make('p', { class: 'error', id }, icon('bad'), make('span', {}, shown));
        const before = field.querySelector(':scope > .to-guide') ?? field.querySelector(':scope > .hint') ?? field.firstElementChild;
        before.after(text);
        this.control(field)?.setAttribute('aria-invalid', 'true');
        for (let folded = field.closest('details'); folded; folded = folded.parentElement.closest('details')) folded.open = true;
      }
      this.describe(field);
    }

    /** Shows errors at their fields; with `summary`, also above the form, and moves the focus there. */
    errors(errors, summary) {
      const shown = new Map();
      for (const error of errors) {
        const field = this.fieldAt(error.pointer ?? '');
        if (field && !shown.has(field)) shown.set(field, error.message);
      }
      for (const field of this.fields()) {
        const isJudged = summary || this.touched.has(field) || this.wasSubmitted;
        if (field.dataset.kind !== 'group' && isJudged) this.error(field, shown.get(field));
      }
      const box = this.form.querySelector('[data-summary]');
      if (!summary) {
        if (!errors.length) box.hidden = true;
        return;
      }
      box.hidden = errors.length === 0;
      box.querySelector('.small')?.remove();
      const isAtField = errors.some((error) => this.fieldAt(error.pointer ?? ''));
      box.querySelector('h2').textContent = isAtField ? count(own.errors, errors.length) : own.refused;
      // Two fields with one message, such as a key and its password, are listed once.
      const distinct = errors.filter((error, index) => errors.findIndex((one) => one.message === error.message) === index);
      box.querySelector('ul').replaceChildren(...distinct.map((error) => {
        const field = this.fieldAt(error.pointer ?? '');
        const control = field && this.control(field);
        return make('li', {}, control ? make('a', { href: `#${control.id}` }, sentence(error.message)) : sentence(error.message));
      }));
      if (errors.length) box.focus();
    }

    notice(field, message) {
      const id = `${this.idOf(field)}-notice`;
      this.form.querySelector(`#${CSS.escape(id)}`)?.remove();
      if (message) field.append(make('p', { class: 'notice', id, role: 'status' }, icon('info'), make('span', {}, sentence(message))));
      this.describe(field);
    }

    // -- What the user does

    changed(event) {
      if (event.target.type === 'file') {
        if (event.type === 'change' && event.target.files.length) this.fillFrom(event.target);
        return;
      }
      const field = event.target.closest('[data-pointer]');
      if (field && event.type === 'input') field.dataset.edited = '1';
      this.found = this.found.filter((error) => ![undefined, field].includes(this.fieldAt(error.pointer ?? '')));
      if (event.target.matches('[data-counter]')) this.counter(event.target);
      if (field?.hasAttribute('data-destination')) {
        clearTimeout(this.typing);
        this.typing = setTimeout(() => this.judge(), 400);
      }
      if (event.target.closest('[data-kind="tag"]') === field) this.branches();
      this.resets();
      this.again();
    }

    left(event) {
      const field = event.target.closest('[data-pointer]');
      if (!field || field.contains(event.relatedTarget) || !field.dataset.edited) return;
      this.touched.add(field);
      const isHalf = event.target.validity?.badInput;
      if (isHalf) this.error(field, fill(own.bad_date, { field: field.dataset.title }));
      else if (event.target.name === 'title') this.notice(field, this.isTaken(event.target.value) ? own.same_title : undefined);
      else if (field.dataset.kind !== 'own') this.judge();
    }

    /** Whether a tile of the page below has this name. */
    isTaken(title) {
      return !this.form.dataset.connection && all('.tile.choice .tile-title').some((tile) => tile.textContent === title.trim());
    }

    /**
     * The server validates. Before the first submit only fields that lost the focus show errors. Errors of a test or a
     * refused save stay until their field changes.
     */
    async judge() {
      if (this.isPreview) return;
      const mine = ++this.judged;
      const response = await call(`/api/v1/connectors/${this.form.dataset.connector}/validate`, {
        method: 'POST', headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ config: this.config() }),
      }).catch(() => null);
      const verdict = response?.ok ? await response.json().catch(() => null) : null;
      if (!verdict || mine !== this.judged || !this.form.isConnected) return;
      this.errors([...this.withoutSaved(verdict.errors ?? []), ...this.found], false);
      this.calls(verdict.addresses ?? {});
      for (const notice of verdict.notices ?? []) {
        const field = this.fieldAt(notice.pointer);
        if (field && this.touched.has(field)) this.notice(field, notice.message);
      }
    }

    /** Shows the addresses of requests, as joined by the server. */
    calls(addresses) {
      for (const shown of all('[data-calls]', this.form)) {
        const field = shown.closest('[data-pointer]');
        const address = addresses[field.dataset.pointer];
        const words = address ? fill(own.calls, { address }) : '';
        // Screen readers repeat a text that is set again.
        if (shown.textContent !== words) shown.textContent = words;
        shown.hidden = !address;
        this.describe(field);
      }
    }

    /** A draft lacks saved secrets, which is no error. */
    withoutSaved(errors) {
      return errors.filter((error) => this.fieldAt(error.pointer)?.dataset.state !== 'saved');
    }

    pressed(event) {
      const isCommand = event.ctrlKey || event.metaKey;
      const press = (action) => {
        event.preventDefault();
        this.form.requestSubmit(this.form.querySelector(`footer button[value="${action}"]`));
      };
      if (isCommand && event.key === 'Enter') press('save');
      if (isCommand && event.shiftKey && event.key.toLowerCase() === 't') press('test');
    }

    clicked(event) {
      const target = event.target.closest('button, a');
      if (!target) return;
      const field = target.closest('[data-pointer]');
      if (target.name === 'replace') {
        event.preventDefault();
        this.replace(field);
        this.control(field).focus();
      } else if (target.name === 'keep') {
        event.preventDefault();
        this.keep(field);
        field.querySelector('[name="replace"]').focus();
      } else if (target.matches('[data-reveal]')) {
        this.reveal(target);
      } else if (target.matches('[data-reset]')) {
        const input = this.control(field);
        input.value = JSON.parse(field.dataset.default);
        input.dispatchEvent(new Event('input', { bubbles: true }));
        input.focus();
      } else if (target.matches('[data-apply]')) {
        event.preventDefault();
        this.apply(JSON.parse(this.form.querySelector('[name="patch"]').value));
      } else if (target.matches('[data-progress] a')) {
        event.preventDefault();
        this.result.show();
      } else if (target.matches('.summary a, [data-to-field]')) {
        event.preventDefault();
        document.getElementById(target.hash.slice(1))?.focus();
      } else if (target.matches('[data-guide-link], [data-guide-open]')) {
        event.preventDefault();
        this.openGuide(target);
      } else if (target.matches('[data-guide-close]')) {
        this.closeGuide();
      }
    }

    // -- Parts of the form

    /** Only the chosen alternative is enabled and shown. */
    branches() {
      for (const choice of all('[data-kind="tag"]', this.form)) {
        const chosen = choice.querySelector('input:checked[data-branch], option:checked[data-branch], input[type="hidden"][data-branch]');
        for (const branch of all('.branch', choice)) {
          branch.disabled = branch.dataset.branch !== chosen?.dataset.branch;
          branch.hidden = branch.disabled;
        }
        const saved = choice.dataset.savedBranch;
        const leaving = choice.querySelector('[data-leaving]');
        const hasSecrets = choice.querySelector(`.branch[data-branch="${saved}"] [data-state]`);
        if (leaving) leaving.hidden = !hasSecrets || chosen?.dataset.branch === saved;
      }
    }

    /** Saved secrets are bound to their address and way to sign in: after a change they have to be entered again. */
    again() {
      const address = (text) => {
        try {
          return new URL(text.trim()).href.replace(/\/+$/, '');
        } catch {
          return text.trim();
        }
      };
      const moved = all('[data-destination] [name]', this.form).find((input) => address(input.value) !== address(input.dataset.before));
      const switched = all('[data-saved-branch]', this.form).find((choice) => choice.querySelector('.branch:enabled')?.dataset.branch !== choice.dataset.savedBranch);
      for (const field of all('[data-kind="secret"][data-state]', this.form)) {
        const cause = moved?.closest('[data-pointer]') ?? (switched?.contains(field) ? undefined : switched);
        const reason = field.querySelector('.reason');
        if (cause) {
          reason.querySelector('span').textContent = fill(own.again_destination, { field: cause.dataset.title });
          reason.hidden = false;
          this.replace(field);
          field.querySelector('[name="keep"]').hidden = true;
          field.dataset.again = '1';
        } else if (field.dataset.again) {
          reason.hidden = true;
          delete field.dataset.again;
          field.querySelector('[name="keep"]').hidden = false;
          if (!field.querySelector('[data-secret]').value) this.keep(field);
        }
        this.describe(field);
      }
    }

    /** Creates the input for a new value of a saved secret. */
    replace(field) {
      if (field.dataset.state !== 'saved') return;
      const replacement = field.querySelector('.replacement');
      replacement.append(replacement.querySelector('template').content.cloneNode(true));
      field.querySelector('.saved').hidden = true;
      field.dataset.state = 'replacing';
      for (const button of all('[data-reveal]', replacement)) button.hidden = false;
      this.describe(field);
    }

    keep(field) {
      const replacement = field.querySelector('.replacement');
      const row = replacement.querySelector('.row');
      if (!replacement.querySelector('template')) {
        const template = make('template');
        const empty = row.cloneNode(true);
        for (const input of all('[data-secret]', empty)) input.removeAttribute('aria-invalid');
        template.content.append(empty);
        replacement.append(template);
      }
      row.remove();
      field.querySelector('.saved').hidden = false;
      field.dataset.state = 'saved';
      this.error(field, undefined);
      this.notice(field, undefined);
    }

    reveal(button) {
      const input = button.closest('.row').querySelector('[data-secret]');
      const isHidden = button.getAttribute('aria-pressed') === 'false';
      this.hideSecrets();
      if (!isHidden) return;
      input.type = input.type === 'password' ? 'text' : input.type;
      input.classList.add('shown');
      button.setAttribute('aria-pressed', 'true');
      button.firstChild.textContent = own.hide;
      this.shown = setTimeout(() => this.hideSecrets(), 30_000);
    }

    hideSecrets() {
      clearTimeout(this.shown);
      for (const button of all('[data-reveal][aria-pressed="true"]', this.form)) {
        const input = button.closest('.row').querySelector('[data-secret]');
        if (input.matches('input')) input.type = 'password';
        input.classList.remove('shown');
        button.setAttribute('aria-pressed', 'false');
        button.firstChild.textContent = own.show;
      }
    }

    /** Removes spaces and quotes that copying added, with a notice. A password stays unchanged. */
    tidy(input) {
      const field = input.closest('[data-pointer]');
      const { prefix, verbatim } = field.dataset;
      const notices = [];
      const unspaced = input.value.replace(/^[\s\u200b\ufeff]+|[\s\u200b\ufeff]+$/g, '');
      const unquoted = unspaced.replace(/^(["'])(.*)\1$/s, '$2');
      let value = verbatim === 'blanks' ? input.value : verbatim ? unspaced : unquoted;
      if (value !== input.value) notices.push(verbatim ? own.unspaced : own.stripped);
      if (value !== unquoted) notices.push(own.wrapped);
      const bare = !verbatim && value.match(/^bearer\s+(\S+)$/i);
      if (bare) {
        value = bare[1];
        notices.push(own.bearer);
      }
      if (prefix && value && !value.startsWith(prefix)) notices.push(fill(own.prefix, { prefix }));
      if (value !== input.value) input.value = value;
      this.notice(field, notices.join(' '));
    }

    counter(input) {
      const shown = this.form.querySelector(`[data-count-of="${input.id}"]`);
      const left = input.maxLength - input.value.length;
      shown.textContent = fill(own.left, { left });
      shown.hidden = left > input.maxLength / 2;
    }

    /** Shows the reset buttons of changed fields and the counts of folded ones. */
    resets() {
      for (const button of all('[data-reset]', this.form)) {
        const field = button.closest('[data-pointer]');
        button.hidden = this.control(field).value === String(JSON.parse(field.dataset.default));
      }
      for (const folded of all('details.advanced', this.form)) {
        const fields = all('[data-pointer]:not([data-kind="secret"], [data-kind="group"])', folded);
        const changed = fields.filter((field) => valueOf(field) !== undefined).length;
        const shown = folded.querySelector('[data-count]');
        shown.hidden = changed === 0;
        shown.textContent = fill(texts.changed.other, { count: changed });
      }
    }

    guide(step) {
      if (!step) return;
      for (const one of all('[data-guide-step]', this.form)) {
        const isNow = one.dataset.guideStep === step;
        one.classList.toggle('now', isNow);
        if (isNow) one.setAttribute('aria-current', 'step');
        else one.removeAttribute('aria-current');
      }
    }

    openGuide(opener) {
      this.guide(opener.dataset.guideLink);
      const pane = this.form.querySelector('[data-guide-pane]');
      this.form.querySelector('.guide .now')?.scrollIntoView({ block: 'nearest' });
      if (!matchMedia('(max-width: 52rem)').matches) return;
      pane.classList.add('open');
      const button = pane.querySelector('[data-guide-close]');
      button.hidden = false;
      button.focus();
      this.guideOpener = opener;
    }

    closeGuide() {
      this.form.querySelector('[data-guide-pane]').classList.remove('open');
      this.guideOpener?.focus();
      this.guideOpener = null;
    }

    // -- Testing and saving

    submitted(event) {
      if (this.isPreview) return;
      const action = event.submitter?.value ?? 'save';
      if (!['test', 'save', 'save-untested'].includes(action)) return;
      event.preventDefault();
      if (this.work) return;
      this.hideSecrets();
      this.wasSubmitted = true;
      const errorOf = (pattern) => (field) => ({ pointer: field.dataset.pointer, message: fill(pattern, { field: field.dataset.title }) });
      const empty = all('[data-state="replacing"]', this.form).filter((field) => !field.closest('.branch:disabled') && !valueOf(field));
      // The browser has no value for a half-typed date and would leave it out.
      const half = this.fields().filter((field) => this.control(field)?.validity.badInput);
      const errors = [...half.map(errorOf(own.bad_date)), ...empty.map(errorOf(own.empty))];
      if (errors.length) {
        this.errors(errors, true);
        return;
      }
      if (action === 'test') this.test();
      else this.save(action === 'save');
    }

    /** Does one thing at a time; an answer after the form was closed is dropped. */
    async busy(what, work) {
      const controller = new AbortController();
      this.work = controller;
      // Drops answers to earlier validations.
      this.judged += 1;
      this.found = [];
      const buttons = all('footer button', this.form);
      for (const button of buttons) button.setAttribute('aria-disabled', 'true');
      try {
        await this.result.during(what, () => controller.abort(), () => work(controller.signal));
      } catch (error) {
        if (!this.form.isConnected) return;
        if (error.name === 'AbortError') this.result.say('idle', own.stopped);
        else this.refused(error);
      } finally {
        this.work = null;
        for (const button of buttons) button.removeAttribute('aria-disabled');
      }
    }

    stop() {
      this.work?.abort();
    }

    refused(error) {
      if (error.report) this.tested(error.report);
      this.found = error.errors?.length ? error.errors : [{ pointer: '', message: reason(error) }];
      this.errors(this.found, true);
      if (error.request) this.form.querySelector('[data-summary]').append(make('p', { class: 'small' }, fill(texts.checks.request, { id: error.request })));
      around.refused(error);
    }

    tested(report) {
      const outcome = this.result.done(report, (set) => this.apply(set));
      const failures = report.checks.filter((check) => check.outcome === 'failed');
      this.found = failures.flatMap((check) => (check.pointers ?? []).map((pointer) => ({ pointer, message: check.message })));
      this.errors(this.found, false);
      around.tested(outcome, report.checks.find((check) => check.outcome === outcome)?.code);
      const isRefused = failures.some((check) => check.code === 'not_allowed');
      const untested = this.form.querySelector('[value="save-untested"]');
      if (untested) untested.hidden = outcome !== 'failed' || isRefused;
      const wait = failures.map((check) => check.facts?.wait_seconds).find((seconds) => seconds <= LONGEST_WAIT);
      if (wait) {
        const button = make('button', { type: 'button' }, fill(own.test_later, { seconds: wait }));
        button.addEventListener('click', () => this.testAfter(wait));
        this.result.after.prepend(make('p', {}, button));
      }
      report.checks.forEach((check, index) => {
        const field = check.pointers?.length && check.outcome !== 'passed' && this.fieldAt(check.pointers[0]);
        const control = field && this.control(field);
        if (!control) return;
        const link = make('a', { href: `#${control.id}`, 'data-to-field': true }, fill(own.to_field, { field: field.dataset.title }));
        const next = make('p', {}, link);
        this.result.list.children[index].lastChild.append(next);
        const origin = check.facts?.origin;
        if (!origin) return;
        const button = make('button', { type: 'button', class: 'quiet' }, fill(own.use_address, { address: origin }));
        button.addEventListener('click', () => this.moveTo(field, origin));
        next.append(' ', button);
      });
      this.result.show();
    }

    test() {
      const { connector, connection } = this.form.dataset;
      const config = connection ? this.change() : this.config();
      const address = connection ? `/api/v1/connections/${connection}/probe-change` : `/api/v1/connectors/${connector}/probe`;
      return this.busy(own.testing, async (signal) => {
        this.errors([], true);
        const report = await probe(this.result, address, { config }, signal);
        if (this.form.isConnected) this.tested(report);
      });
    }

    /** Tests after the wait that the service requests; the wait can be stopped. */
    async testAfter(seconds) {
      let isOver = false;
      await this.busy(own.waiting, (signal) => new Promise((over, stopped) => {
        const timer = setTimeout(() => over(isOver = true), seconds * 1000);
        signal.addEventListener('abort', () => {
          clearTimeout(timer);
          stopped(signal.reason);
        });
      }));
      if (isOver && this.form.isConnected) this.test();
    }

    save(isTested) {
      const { connector, connection, version } = this.form.dataset;
      const value = (name) => this.form.elements[name].value;
      const config = connection ? this.change() : this.config();
      const body = { title: value('title'), description: value('description'), expires: value('expires') || null };
      if (!connection) Object.assign(body, { connector, config, test: isTested });
      // An unchanged config is not sent, so that it is not written again.
      else if (Object.keys(config).length) Object.assign(body, { config, test: isTested });
      const text = JSON.stringify(body);
      const headers = {};
      if (connection) headers['If-Match'] = `"${version}"`;
      else headers['Idempotency-Key'] = this.onceFor(text);
      return this.busy(body.test ? own.testing : own.saving, async (signal) => {
        this.errors([], true);
        const address = connection ? `/api/v1/connections/${connection}` : '/api/v1/connections';
        const end = await watch(this.result, address, { method: connection ? 'PATCH' : 'POST', headers, body: text, signal });
        if (end.problem) throw refusal(end.status, end.problem);
        if (!this.form.isConnected) return;
        this.forget();
        around.saved(end.connection, this.form.dataset);
      });
    }

    /** One key for the same input, so that sending it twice saves one connection. */
    onceFor(text) {
      if (this.once?.text !== text) {
        const bytes = crypto.getRandomValues(new Uint8Array(16));
        this.once = { text, key: [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('') };
      }
      return this.once.key;
    }

    /** Forgets unsaved changes and clears all secrets. */
    forget() {
      for (const input of all('[data-secret]', this.form)) input.value = '';
      this.once = null;
      this.before = this.state();
    }

    /** Chooses another alternative and keeps the values of common fields. */
    switchTo(choice, wanted) {
      const typed = new Map(all('.branch:enabled [data-pointer]', choice).map((field) => [field.dataset.pointer, this.control(field)?.value]));
      for (const radio of all('input[type="radio"]', choice)) radio.checked = radio.dataset.value === wanted;
      this.branches();
      for (const field of all('.branch:enabled [data-pointer]', choice)) {
        const control = this.control(field);
        if (control?.value === '') control.value = typed.get(field.dataset.pointer) ?? '';
      }
    }

    /** Enters a value into a field; false if it is not one of its choices. */
    enter(field, value) {
      const control = this.control(field);
      const { kind } = field.dataset;
      const wanted = JSON.stringify(value);
      const choices = all('[data-value]', field).filter((one) => one.closest('[data-pointer]') === field);
      if (choices.length && kind !== 'choices' && !choices.some((one) => one.dataset.value === wanted)) return false;
      if (kind === 'boolean') control.checked = value === true;
      else if (kind === 'choices') for (const box of choices) box.checked = [value].flat().some((one) => JSON.stringify(one) === box.dataset.value);
      else if (control.matches('select')) for (const option of control.options) option.selected = option.dataset.value === wanted;
      else if (kind === 'tag') this.switchTo(field, wanted);
      else control.value = [value].flat().map((one) => (typeof one === 'string' ? one : JSON.stringify(one))).join('\n');
      // A new form has no saved secret that is bound to the address.
      if (field.hasAttribute('data-destination') && !this.form.dataset.connection) control.dataset.before = control.value;
      control.dispatchEvent(new Event('change', { bubbles: true }));
      return true;
    }

    /** Changes the address. Its secrets have to be entered again. */
    moveTo(field, origin) {
      const control = this.control(field);
      const path = URL.canParse(control.value) ? new URL(control.value).pathname.replace(/\/$/, '') : '';
      control.value = origin + path;
      const secrets = all('[data-kind="secret"]', this.form).map((secret) => this.control(secret)).filter(Boolean);
      for (const secret of secrets) secret.value = '';
      control.dispatchEvent(new Event('input', { bubbles: true }));
      (secrets.find((secret) => !secret.disabled) ?? control).focus();
    }

    /** Enters the offered change and tests it. */
    apply(set) {
      for (const [pointer, value] of Object.entries(set)) {
        const field = this.fieldAt(pointer);
        if (field && this.control(field)) this.enter(field, value);
      }
      this.test();
    }

    /** Fills in the values of a file, which stays in this page. */
    async fillFrom(input) {
      const [file] = input.files;
      const values = { file: file.name };
      const status = input.parentElement.querySelector('[role="status"]');
      const say = (words) => {
        status.hidden = false;
        status.querySelector('span').textContent = words;
      };
      let read = null;
      if (file.size <= 1 << 20) read = await file.text().then(parsed).catch(() => null);
      // The same file can be chosen again.
      input.value = '';
      if (file.size > 1 << 20) return say(fill(own.file_large, values));
      if (!isObject(read)) return say(fill(own.file_wrong, values));
      const { connector } = this.form.dataset;
      const isWrapped = typeof read.connector === 'string' && isObject(read.config);
      if (isWrapped && read.connector !== connector) return say(fill(own.file_other, { ...values, connector: read.connector, own: connector }));
      const config = isWrapped ? read.config : read;
      const found = new Map();
      for (const name of isWrapped ? ['title', 'description', 'expires'] : []) {
        if (typeof read[name] !== 'string') continue;
        const input = this.form.elements[name];
        input.value = read[name];
        // An input for dates silently drops other texts.
        if (read[name] && !input.value) found.set(`/${name}`, read[name]);
      }
      const leaves = (value, pointer) => {
        if (isObject(value)) for (const [name, inner] of Object.entries(value)) leaves(inner, `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`);
        else if (value !== null) found.set(pointer, value);
      };
      for (const [name, value] of Object.entries(config)) {
        if (name.startsWith('/')) found.set(name, value);
        else leaves({ [name]: value }, '');
      }
      let filled = 0;
      // The alternatives first, because choosing one enables its fields.
      for (const isTag of [true, false]) {
        for (const field of this.fields()) {
          const { kind, pointer } = field.dataset;
          if (kind === 'own' || kind === 'group' || (kind === 'tag') !== isTag || !found.has(pointer)) continue;
          if (!this.enter(field, found.get(pointer))) continue;
          this.touched.add(field);
          found.delete(pointer);
          filled += 1;
        }
      }
      const names = [...found.keys()].map((pointer) => pointer.slice(1)).join(', ');
      say([fill(count(own.file_filled, filled), values), names && fill(own.file_left, { names })].filter(Boolean).join(' '));
      this.judge();
    }
  }

  // ---- Forms over their page

  let sheet = null;
  let opening = 0;

  async function openSheet(address, opener, isNew = true) {
    const mine = ++opening;
    let overlay;
    try {
      overlay = (await page(address)).querySelector('[data-overlay]');
    } catch {
      overlay = null;
    }
    if (mine !== opening) return;
    if (!overlay) {
      location.assign(address);
      return;
    }
    if (sheet) {
      sheet.form.stop();
      sheet.dialog.replaceChildren(overlay);
    } else {
      const dialog = make('dialog', { class: 'sheet', 'aria-labelledby': 'overlay-title' }, overlay);
      document.body.append(dialog);
      sheet = { dialog, opener };
      dialog.addEventListener('cancel', (event) => {
        event.preventDefault();
        leaveSheet();
      });
      dialog.addEventListener('keydown', (event) => {
        if (event.key !== 'Escape') return;
        event.preventDefault();
        event.stopPropagation();
        if (dialog.querySelector('.guide.open')) sheet.form.closeGuide();
        else leaveSheet();
      });
      dialog.addEventListener('click', (event) => {
        if (!event.target.closest('[data-close]')) return;
        event.preventDefault();
        leaveSheet();
      });
      if (isNew) history.pushState({ sheet: true }, '', address);
      dialog.showModal();
    }
    sheet.form = open(sheet.dialog);
  }

  /** Starts the form inside and focuses its first field. */
  function open(inside) {
    const form = inside.querySelector('form');
    const invalid = form.querySelector('[aria-invalid="true"]');
    const first = invalid ?? form.querySelector('.inputs :is(input:not([type="hidden"], [type="file"]), select, textarea)');
    const live = new CredentialForm(form);
    (first ?? inside.querySelector('h1')).focus();
    // The first typed letter replaces a suggested title.
    if (first?.matches('[name="title"]')) first.select();
    return live;
  }

  const mayLeave = async () => !sheet?.form.isDirty || ask(own.discard, own.discard_yes, own.discard_no);

  async function leaveSheet() {
    if (!sheet || sheet.isAsking) return;
    sheet.isAsking = true;
    const may = await mayLeave();
    sheet.isAsking = false;
    if (!may) return;
    sheet.form.forget();
    if (history.state?.sheet) history.back();
    else closeSheet();
  }

  function closeSheet() {
    opening += 1;
    if (!sheet) return;
    const { dialog, opener, form } = sheet;
    sheet = null;
    form.stop();
    dialog.close();
    dialog.remove();
    opener?.focus();
  }

  window.addEventListener('popstate', async (event) => {
    if (!sheet) {
      if (event.state?.sheet) location.reload();
      return;
    }
    if (sheet.form.isDirty) {
      history.pushState({ sheet: true }, '', sheet.dialog.querySelector('form').getAttribute('action'));
      leaveSheet();
      return;
    }
    closeSheet();
  });

  document.addEventListener('click', async (event) => {
    const link = event.target.closest('a[data-dialog]');
    if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (sheet && !(await mayLeave())) return;
    openSheet(link.href, link);
  });

  // ---- In a frame of another page

  const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const written = (rgb) => `#${rgb.map((value) => value.toString(16).padStart(2, '0')).join('')}`;
  const mixed = (one, other, share) => one.map((value, at) => Math.round(value + (other[at] - value) * share));

  /** The contrast of two colours, as WCAG 2.2 defines it. */
  function contrast(one, other) {
    const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    const light = ([red, green, blue]) => 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    const [less, more] = [light(one), light(other)].sort((a, b) => a - b);
    return (more + 0.05) / (less + 0.05);
  }

  const black = [0, 0, 0];
  const white = [255, 255, 255];
  // The backgrounds of texts in the stylesheet, for the light and the dark scheme, and the colour that adds contrast.
  const grounds = [
    { surface: channels('#ffffff'), page: channels('#f6f7f9'), away: black },
    { surface: channels('#171c25'), page: channels('#0f131a'), away: white },
  ];

  /** The accent in both schemes: a text colour moves away from its backgrounds until it is readable, a surface keeps it. */
  function accent(colour) {
    const chosen = channels(colour);
    const readable = grounds.map(({ surface, page, away }) => {
      for (let share = 0; ; share += 0.05) {
        const text = mixed(chosen, away, Math.min(share, 1));
        const soft = mixed(surface, text, 0.12);
        if (share >= 1 || [surface, page, soft].every((ground) => contrast(text, ground) >= 4.5)) return { text, soft };
      }
    });
    const both = (name) => `light-dark(${readable.map((one) => written(one[name])).join(', ')})`;
    const on = contrast(chosen, white) >= contrast(chosen, black) ? white : black;
    return {
      '--accent': both('text'), '--accent-soft': both('soft'), '--accent-fill': colour,
      '--on-accent': written(on), '--off-accent': written(on === white ? black : white),
    };
  }

  // The theme options of a page and their CSS properties; undefined for an unusable value.
  const themes = {
    scheme(value) {
      if (!['light', 'dark', 'system'].includes(value)) return undefined;
      if (value === 'system') delete root.dataset.theme;
      else root.dataset.theme = value;
      return {};
    },
    accent: (value) => (/^#[0-9a-f]{6}$/i.test(value) ? accent(value.toLowerCase()) : undefined),
    radius: (value) => (/^[\d.]+(px|rem)$/.test(value) && CSS.supports('border-radius', value) ? { '--radius': value } : undefined),
    font: (value) => (!/[(;]/.test(value) && CSS.supports('font-family', value) ? { '--font': value } : undefined),
  };

  /** Serves the page around this frame. It exchanges messages only with the origin of the embed. */
  function embedded(main) {
    const origin = main.dataset.embedded;
    const report = (event, data = {}) => parent.postMessage({ headwater: event, ...data }, origin);
    const failed = (code, message) => report('error', { code, message });
    const waiting = main.firstElementChild;
    let form = null;
    let isLeaving = false;
    main.querySelector('[data-close]').hidden = false;

    function dress(wanted) {
      for (const [name, value] of Object.entries(wanted ?? {})) {
        if (!Object.hasOwn(themes, name)) {
          failed('theme', fill(own.not_themed, { name, names: Object.keys(themes).join(', ') }));
          continue;
        }
        const properties = themes[name](String(value));
        if (!properties) failed('theme', fill(own.not_a_theme, { name, value }));
        for (const [property, chosen] of Object.entries(properties ?? {})) root.style.setProperty(property, chosen);
      }
    }

    async function start(newToken, theme) {
      token = String(newToken);
      dress(theme);
      try {
        const overlay = (await page(`${location.pathname}/form`)).querySelector('[data-overlay]');
        // Other pages of the console cannot open in this frame.
        for (const link of all('a[data-dialog]', overlay)) link.remove();
        main.replaceChildren(overlay);
        form = open(main);
        report('ready');
      } catch (error) {
        main.querySelector('p').textContent = sentence(reason(error));
        waiting.hidden = false;
        around.refused(error);
      }
    }

    async function leave() {
      if (isLeaving) return;
      isLeaving = true;
      const may = !form?.isDirty || await ask(own.discard, own.discard_yes, own.discard_no);
      isLeaving = false;
      if (!may) return;
      form?.stop();
      form?.forget();
      report('closed');
    }

    around = {
      tested: (outcome, code) => report('tested', { outcome, class: code }),
      refused(error) {
        if (error instanceof TypeError) failed('unreachable', reason(error));
        else if (error.code?.startsWith('embed_')) failed(error.code.slice('embed_'.length), error.message);
        else if (!form) failed('refused', error.message);
      },
      saved(saved) {
        report('saved', { connection: saved.name, title: saved.title, connector: saved.connector, status: saved.health });
        report('closed');
      },
    };
    window.addEventListener('message', (event) => {
      if (event.source !== parent || event.origin !== origin) return;
      const { headwater: command, ...data } = event.data ?? {};
      if (command === 'start' && !token && !main.dataset.code) start(data.token, data.theme);
      if (command === 'close') leave();
    });
    main.addEventListener('click', (event) => {
      if (!event.target.closest('[data-close]')) return;
      event.preventDefault();
      leave();
    });
    document.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || event.target.closest('dialog')) return;
      event.preventDefault();
      if (main.querySelector('.guide.open')) form.closeGuide();
      else leave();
    });
    waiting.hidden = !main.dataset.code;
    report('hello');
    if (main.dataset.code) failed(main.dataset.code, main.querySelector('p').textContent);
  }

  // ---- Pages

  function theme(select) {
    select.addEventListener('change', () => {
      const secure = location.protocol === 'https:' ? '; Secure' : '';
      document.cookie = `theme=${select.value}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
      if (select.value === 'system') delete root.dataset.theme;
      else root.dataset.theme = select.value;
    });
  }

  /** Hides items that do not match the typed words. */
  function filter(input) {
    const items = all('[data-filter-text]').map((element) => ({ element, text: element.dataset.filterText.toLocaleLowerCase() }));
    input.addEventListener('input', () => {
      const words = input.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const { element, text } of items) {
        element.hidden = !words.every((word) => text.includes(word));
        shown += element.hidden ? 0 : 1;
      }
      for (const nothing of all('[data-filter-none]')) nothing.hidden = shown > 0 || items.length === 0;
    });
  }

  document.addEventListener('keydown', (event) => {
    const isTyping = event.target.closest('input, select, textarea, dialog');
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    const search = document.querySelector('[data-search]');
    const help = document.getElementById('keys');
    if (event.key === '/' && search) {
      event.preventDefault();
      search.focus();
    } else if (event.key === '?' && help) {
      event.preventDefault();
      help.open = true;
      help.querySelector('summary').focus();
    }
  });

  /** Tests a saved connection on its page. */
  function checkPanel(form) {
    const result = new Result(form);
    let work = null;
    // The server has kept the offered change.
    const apply = () => {
      const button = make('button', { type: 'submit', name: 'action', value: 'apply', hidden: true });
      form.append(button);
      form.requestSubmit(button);
    };
    form.addEventListener('submit', async (event) => {
      if (event.submitter?.value !== 'test') return;
      event.preventDefault();
      if (work) return;
      work = new AbortController();
      try {
        await result.during(own.testing, () => work.abort(),
          () => probe(result, `/api/v1/connections/${form.dataset.check}/probe`, {}, work.signal, apply));
        const fresh = await page(location.href);
        for (const part of all('[data-refresh]')) {
          const now = fresh.querySelector(`[data-refresh="${part.dataset.refresh}"]`);
          if (now) part.replaceWith(now);
        }
        const untested = form.querySelector('[data-untested]');
        if (untested) untested.hidden = true;
        localise(document);
      } catch (error) {
        result.say(error.name === 'AbortError' ? 'idle' : 'bad', error.name === 'AbortError' ? own.stopped : sentence(reason(error)));
      } finally {
        work = null;
      }
    });
  }

  /** Follows a run. Its events announce changes, which the page then shows. */
  function follow(element) {
    const source = new EventSource(`/api/v1/syncs/${encodeURIComponent(element.dataset.run)}/events`);
    let timer = null;
    const refresh = async () => {
      timer = null;
      const fresh = await page(location.href).then((found) => found.body, () => null);
      const live = fresh?.querySelector('[data-live]');
      if (!live) return;
      const state = fresh.querySelector('[data-said]').textContent;
      const shown = element.querySelector('[data-said]');
      if (shown.textContent !== state) shown.textContent = state;
      element.querySelector('[data-live]').replaceChildren(...live.childNodes);
      localise(element);
      if (fresh.querySelector('[data-run]')) return;
      source.close();
      element.querySelector('form')?.remove();
    };
    const soon = () => { timer ??= setTimeout(refresh, 1000); };
    for (const name of ['message', 'started', 'progress', 'waiting', 'committed', 'ended', 'done']) source.addEventListener(name, soon);
    source.addEventListener('error', soon);
  }

  /** The page for authors: the form follows the typed schema or the file. */
  function author(editor) {
    const status = editor.querySelector('[data-said]');
    const schema = editor.elements.schema;
    let requests = 0;
    let timer = null;
    const dress = () => all('[data-author] form[data-credential]').map((form) => new CredentialForm(form));
    const show = async (pairs) => {
      clearTimeout(timer);
      const mine = ++requests;
      const response = await fetch('/author', {
        method: 'POST', headers: { 'Headwater-Fragment': '1' }, credentials: 'same-origin', body: new URLSearchParams(pairs),
      }).catch(() => null);
      const fresh = response && new DOMParser().parseFromString(await response.text(), 'text/html');
      if (mine !== requests) return;
      const seen = fresh?.querySelector('[data-author]');
      // While the text is not yet JSON, the previous form stays.
      const wrong = seen ? seen.querySelector('[data-author-problem]') : fresh?.querySelector('p') ?? { textContent: own.no_answer };
      if (wrong) schema.setAttribute('aria-invalid', 'true');
      else schema.removeAttribute('aria-invalid');
      status.textContent = wrong?.textContent ?? seen.querySelector('[data-author-findings]').textContent;
      if (wrong) return;
      document.querySelector('[data-author]').replaceWith(seen);
      dress();
    };
    const showAll = () => show(new FormData(editor));
    schema.addEventListener('input', () => {
      clearTimeout(timer);
      timer = setTimeout(showAll, 300);
    });
    editor.elements.class.addEventListener('change', showAll);
    document.addEventListener('submit', (event) => {
      const isPreview = event.target.matches('[data-author] form');
      if (event.target !== editor && !isPreview) return;
      event.preventDefault();
      if (!isPreview) {
        showAll();
        return;
      }
      const pressed = event.submitter?.value ?? 'test';
      show(new FormData(event.target, event.submitter)).then(() => {
        const form = document.querySelector('[data-author] form');
        const wrong = form?.querySelector('[data-summary]:not([hidden])');
        (wrong ?? form?.querySelector(`footer button[value="${pressed}"]`))?.focus();
      });
    });
    dress();
    if (!editor.hasAttribute('data-watch')) return;
    let before = schema.defaultValue;
    setInterval(async () => {
      const response = await fetch('/author/file', { credentials: 'same-origin' }).catch(() => null);
      const now = response?.ok ? (await response.text()).replaceAll('\r\n', '\n') : before;
      if (now === before) return;
      before = now;
      schema.value = now;
      showAll();
    }, 1000);
  }

  localise(document);
  for (const editor of all('[data-author-editor]')) author(editor);
  for (const select of all('.theme select')) theme(select);
  for (const input of all('[data-filter]')) filter(input);
  for (const form of all('form[data-check]')) checkPanel(form);
  for (const element of all('[data-run]')) follow(element);
  const schedule = document.getElementById('schedule');
  if (schedule) {
    const show = () => document.querySelector('[data-cron]').classList.toggle('on', schedule.value === 'cron');
    schedule.addEventListener('change', show);
    show();
  }
  const frame = document.querySelector('main[data-embedded]');
  if (frame && parent !== window) embedded(frame);
  const lone = document.querySelector('main form[data-credential]:not([data-author] form)');
  if (lone) {
    const form = new CredentialForm(lone);
    document.querySelector('[data-summary]:not([hidden])')?.focus();
    window.addEventListener('beforeunload', (event) => {
      if (form.isDirty) event.preventDefault();
    });
  }
})();
