// The console's one script. Every flow works without it; with it, forms open over their page, are checked while they
// are filled in, and tests and runs are seen as they go. It keeps nothing in the browser but the theme.
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

  /** In a frame of another page, a token from there stands in place of a cookie. It is kept nowhere else. */
  let token = null;

  const call = (address, options = {}) => fetch(address, {
    ...options,
    credentials: token ? 'omit' : 'same-origin',
    headers: { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) },
  });

  /** What a form tells to what stands around it. */
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

  /** A button that copies a text; whoever has no script marks it. */
  function copies(inside) {
    for (const text of all('[data-copy]', inside)) {
      if (text.nextElementSibling) continue;
      const said = make('span', { role: 'status' });
      const button = make('button', { type: 'button', class: 'quiet' }, text.dataset.copy || texts.checks.copy);
      button.addEventListener('click', () => navigator.clipboard?.writeText(text.textContent).then(() => { said.textContent = ` ${texts.checks.copied}`; }));
      text.after(button, said);
    }
  }

  async function page(address) {
    const response = await call(address, { headers: { 'Headwater-Fragment': '1' } });
    if (!response.ok) throw await problem(response);
    return new DOMParser().parseFromString(await response.text(), 'text/html');
  }

  /** Calls `heard` with the name and data of each server-sent event of an answer. */
  async function listen(response, heard) {
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
        if (data) heard(of('event')[0] ?? 'message', JSON.parse(data));
      }
    }
  }

  /** Asks before something is lost. */
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

  // ---- Results of tests, in the elements that the server fills too

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

  /** Shows a test in a section: what goes on, each check as it comes, and the end of it. */
  class Result {
    constructor(form) {
      this.form = form;
      this.section = form.querySelector('[data-tested]');
      this.verdict = this.section.querySelector('[data-verdict]');
      this.list = this.section.querySelector('[data-checks]');
      this.after = this.section.querySelector('[data-after]');
      this.progress = form.querySelector('[data-progress]');
    }

    /** Counts the seconds until `work` ends; `stop` is what its button does. */
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

    /** The end: the worst outcome in words, what is offered, what is left. */
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

  /** Sends a request that tests something, and shows each check as it is made. Returns what it says at its end. */
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

  /** Runs a probe and shows it. Returns its report, or nothing where there is none. */
  async function probe(result, address, body, signal, apply) {
    const report = await watch(result, address, { method: 'POST', signal, body: JSON.stringify(body) });
    result.done(report, apply);
    return report;
  }

  /** What a refused request says, as something to throw. */
  async function problem(response) {
    return refusal(response.status, await response.json().catch(() => ({})));
  }

  function refusal(status, said) {
    const error = new Error(said.detail ?? said.title ?? own.refused);
    // What is no field of the config has its name beside the pointer.
    error.errors = (said.errors ?? []).map((one) => (one.member ? { ...one, pointer: `/${one.member}` } : one));
    error.report = said.report;
    error.request = said.request_id;
    error.code = said.code;
    if (status === 401 && !token) error.message = own.signed_out;
    if (status === 412) error.message = own.conflict;
    return error;
  }

  /** The reason of a failed request. */
  const reason = (error) => (error instanceof TypeError ? own.no_answer : error.message);

  // ---- The values of a form, typed as the server types them

  const keys = (pointer) => pointer.split('/').slice(1).map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));

  /** An object in which every name is that of a field, `__proto__` too. */
  const object = () => Object.create(null);

  function put(config, pointer, value) {
    const path = keys(pointer);
    const last = path.pop();
    let place = config;
    for (const key of path) place = place[key] ??= object();
    place[last] = value;
  }

  const at = (config, pointer) => keys(pointer).reduce((place, key) => place?.[key], config);

  /** A number as it is written, where the browser can keep it so. */
  const exact = (text) => (JSON.rawJSON ? JSON.rawJSON(text) : Number(text));

  const parsed = (text) => JSON.parse(text, (_, value, given) => (typeof value === 'number' ? exact(given?.source ?? String(value)) : value));

  /** Whether two values are the same, however their numbers are written: 5.0 is 5. */
  const isSame = (one, other) => comparable(one) === comparable(other);
  const comparable = (value) => JSON.stringify(value, (_, one) => {
    if (!JSON.isRawJSON?.(one)) return one;
    const number = Number(one.rawJSON);
    return Number.isSafeInteger(number) || !/^-?\d+$/.test(one.rawJSON) ? number : one.rawJSON;
  });

  const typed = (input) => (input.dataset.value === undefined ? undefined : parsed(input.dataset.value));

  // What the server takes for white space.
  const trim = (text) => text.replace(/^\p{White_Space}+|\p{White_Space}+$/gu, '');

  function scalar(kind, text) {
    if (text === '') return undefined;
    if (kind === 'boolean' && /^(true|false)$/.test(text)) return text === 'true';
    const trimmed = trim(text);
    const isNumber = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(trimmed) && Number.isFinite(Number(trimmed));
    return (kind === 'integer' || kind === 'number') && isNumber ? exact(trimmed) : text;
  }

  /** The value of one field; undefined where it is empty or the default. */
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

  /** The change (JSON Merge Patch) that makes one config of another: what is absent would stay, so it becomes null. */
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

  /** The longest time in seconds that a form waits for a service by itself. */
  const LONGEST_WAIT = 600;

  class CredentialForm {
    constructor(form) {
      this.form = form;
      this.result = new Result(form);
      // On the page for authors nothing is asked of a connector.
      this.isPreview = form.closest('[data-author]') !== null;
      this.touched = new Set();
      this.judged = 0;
      this.found = [];
      this.work = null;
      this.wasSubmitted = false;
      this.dress(form);
      this.branches();
      // Where the page came with something that is not saved, it says what is.
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

    /** Shows what needs the script. */
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

    /** What differs from what is saved. */
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

    /** Puts the texts about a control into its description: what is wrong first. */
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
        const place = field.querySelector(':scope > .to-guide') ?? field.querySelector(':scope > .hint') ?? field.firstElementChild;
        place.after(text);
        this.control(field)?.setAttribute('aria-invalid', 'true');
        for (let folded = field.closest('details'); folded; folded = folded.parentElement.closest('details')) folded.open = true;
      }
      this.describe(field);
    }

    /** Shows errors at their fields; with `summary`, all of them above the form as well, and goes there. */
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
      // What is said of two fields alike, as of a key and its password, is said once.
      const said = errors.filter((error, place) => errors.findIndex((one) => one.message === error.message) === place);
      box.querySelector('ul').replaceChildren(...said.map((error) => {
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
     * The server is the judge. Only fields that were left show what it says, until the form was sent once. What a test or
     * a refused save found stands until its field is changed.
     */
    async judge() {
      if (this.isPreview) return;
      const mine = ++this.judged;
      const response = await call(`/api/v1/connectors/${this.form.dataset.connector}/validate`, {
        method: 'POST', headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ config: this.config() }),
      }).catch(() => null);
      const said = response?.ok ? await response.json().catch(() => null) : null;
      if (!said || mine !== this.judged || !this.form.isConnected) return;
      this.errors([...this.withoutSaved(said.errors ?? []), ...this.found], false);
      this.calls(said.addresses ?? {});
      for (const notice of said.notices ?? []) {
        const field = this.fieldAt(notice.pointer);
        if (field && this.touched.has(field)) this.notice(field, notice.message);
      }
    }

    /** Where requests go, as the server joins it. */
    calls(addresses) {
      for (const shown of all('[data-calls]', this.form)) {
        const field = shown.closest('[data-pointer]');
        const address = addresses[field.dataset.pointer];
        const words = address ? fill(own.calls, { address }) : '';
        // What did not change is not read out again.
        if (shown.textContent !== words) shown.textContent = words;
        shown.hidden = !address;
        this.describe(field);
      }
    }

    /** A saved secret that stays is missing in a draft, and no error. */
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

    /** Only the chosen alternative is there to be filled in and to be sent. */
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

    /** Saved secrets are bound to where they are sent: there or elsewhere, they are asked for again. */
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

    /** The input of a saved secret comes into being when somebody wants to type a new one. */
    replace(field) {
      if (field.dataset.state !== 'saved') return;
      const place = field.querySelector('.replacement');
      place.append(place.querySelector('template').content.cloneNode(true));
      field.querySelector('.saved').hidden = true;
      field.dataset.state = 'replacing';
      for (const button of all('[data-reveal]', place)) button.hidden = false;
      this.describe(field);
    }

    keep(field) {
      const place = field.querySelector('.replacement');
      const row = place.querySelector('.row');
      if (!place.querySelector('template')) {
        const template = make('template');
        const empty = row.cloneNode(true);
        for (const input of all('[data-secret]', empty)) input.removeAttribute('aria-invalid');
        template.content.append(empty);
        place.append(template);
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

    /** Cleans what copying brings along, and says so. A password stays as it is. */
    tidy(input) {
      const field = input.closest('[data-pointer]');
      const { prefix, verbatim } = field.dataset;
      const said = [];
      const unspaced = input.value.replace(/^[\s\u200b\ufeff]+|[\s\u200b\ufeff]+$/g, '');
      const unquoted = unspaced.replace(/^(["'])(.*)\1$/s, '$2');
      let value = verbatim === 'blanks' ? input.value : verbatim ? unspaced : unquoted;
      if (value !== input.value) said.push(verbatim ? own.unspaced : own.stripped);
      if (value !== unquoted) said.push(own.wrapped);
      const bare = !verbatim && value.match(/^bearer\s+(\S+)$/i);
      if (bare) {
        value = bare[1];
        said.push(own.bearer);
      }
      if (prefix && value && !value.startsWith(prefix)) said.push(fill(own.prefix, { prefix }));
      if (value !== input.value) input.value = value;
      this.notice(field, said.join(' '));
    }

    counter(input) {
      const shown = this.form.querySelector(`[data-count-of="${input.id}"]`);
      const left = input.maxLength - input.value.length;
      shown.textContent = fill(own.left, { left });
      shown.hidden = left > input.maxLength / 2;
    }

    /** What differs from its default can be set back, and is counted where it is folded away. */
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
      const said = (pattern) => (field) => ({ pointer: field.dataset.pointer, message: fill(pattern, { field: field.dataset.title }) });
      const empty = all('[data-state="replacing"]', this.form).filter((field) => !field.closest('.branch:disabled') && !valueOf(field));
      // A date that was typed by half is none to the browser, which would leave it out.
      const half = this.fields().filter((field) => this.control(field)?.validity.badInput);
      const errors = [...half.map(said(own.bad_date)), ...empty.map(said(own.empty))];
      if (errors.length) {
        this.errors(errors, true);
        return;
      }
      if (action === 'test') this.test();
      else this.save(action === 'save');
    }

    /** One thing at a time; what comes back after the form was closed is dropped. */
    async busy(what, work) {
      const controller = new AbortController();
      this.work = controller;
      // What was asked before about the input may not come in over what is found now.
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
      report.checks.forEach((check, place) => {
        const field = check.pointers?.length && check.outcome !== 'passed' && this.fieldAt(check.pointers[0]);
        const control = field && this.control(field);
        if (!control) return;
        const link = make('a', { href: `#${control.id}`, 'data-to-field': true }, fill(own.to_field, { field: field.dataset.title }));
        const next = make('p', {}, link);
        this.result.list.children[place].lastChild.append(next);
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

    /** Tests once the time is over that the service asks to wait; until then it can be stopped. */
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
      // An unchanged config is not sent, so that nothing of it is written again.
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

    /** The same input sent twice is one connection. */
    onceFor(text) {
      if (this.once?.text !== text) {
        const bytes = crypto.getRandomValues(new Uint8Array(16));
        this.once = { text, key: [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('') };
      }
      return this.once.key;
    }

    /** Nothing is left to ask about, and no secret stays behind. */
    forget() {
      for (const input of all('[data-secret]', this.form)) input.value = '';
      this.once = null;
      this.before = this.state();
    }

    /** Another alternative, which takes along what was typed for a field that it has too. */
    switchTo(choice, wanted) {
      const typed = new Map(all('.branch:enabled [data-pointer]', choice).map((field) => [field.dataset.pointer, this.control(field)?.value]));
      for (const radio of all('input[type="radio"]', choice)) radio.checked = radio.dataset.value === wanted;
      this.branches();
      for (const field of all('.branch:enabled [data-pointer]', choice)) {
        const control = this.control(field);
        if (control?.value === '') control.value = typed.get(field.dataset.pointer) ?? '';
      }
    }

    /** Puts a value where somebody would have typed it; false where it is none of those to choose from. */
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
      // What comes from elsewhere leads nowhere that a saved secret was kept for.
      if (field.hasAttribute('data-destination') && !this.form.dataset.connection) control.dataset.before = control.value;
      control.dispatchEvent(new Event('change', { bubbles: true }));
      return true;
    }

    /** Leads to another address. What was typed for the old one is asked for again. */
    moveTo(field, origin) {
      const control = this.control(field);
      const path = URL.canParse(control.value) ? new URL(control.value).pathname.replace(/\/$/, '') : '';
      control.value = origin + path;
      const secrets = all('[data-kind="secret"]', this.form).map((secret) => this.control(secret)).filter(Boolean);
      for (const secret of secrets) secret.value = '';
      control.dispatchEvent(new Event('input', { bubbles: true }));
      (secrets.find((secret) => !secret.disabled) ?? control).focus();
    }

    /** Takes over what the service was seen to accept, and looks whether it is right. */
    apply(set) {
      for (const [pointer, value] of Object.entries(set)) {
        const field = this.fieldAt(pointer);
        if (field && this.control(field)) this.enter(field, value);
      }
      this.test();
    }

    /** Fills in what a file says, which stays in this page. */
    async fillFrom(input) {
      const [file] = input.files;
      const values = { file: file.name };
      const said = input.parentElement.querySelector('[role="status"]');
      const say = (words) => {
        said.hidden = false;
        said.querySelector('span').textContent = words;
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
        // An input for dates takes nothing else, and says nothing.
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
      // The alternatives first, since their fields are there once they are chosen.
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

  /** Brings the form inside to life, and goes to its first field. */
  function open(inside) {
    const form = inside.querySelector('form');
    const invalid = form.querySelector('[aria-invalid="true"]');
    const first = invalid ?? form.querySelector('.inputs :is(input:not([type="hidden"], [type="file"]), select, textarea)');
    const live = new CredentialForm(form);
    (first ?? inside.querySelector('h1')).focus();
    // What is suggested goes away with the first letter that is typed.
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

  /** How far two colours stand apart, as WCAG 2.2 measures it. */
  function contrast(one, other) {
    const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    const light = ([red, green, blue]) => 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    const [less, more] = [light(one), light(other)].sort((a, b) => a - b);
    return (more + 0.05) / (less + 0.05);
  }

  const black = [0, 0, 0];
  const white = [255, 255, 255];
  // What stands behind texts in the stylesheet, for the light scheme and for the dark one, and where contrast is found.
  const grounds = [
    { surface: channels('#ffffff'), page: channels('#f6f7f9'), away: black },
    { surface: channels('#171c25'), page: channels('#0f131a'), away: white },
  ];

  /** The colour in both schemes: as text it is moved away from its grounds until it can be read, as a surface it stays. */
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

  // What a page may choose, and the properties that come of it; nothing where the value cannot be used.
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

  /** Serves the page around this frame: the only one it listens to and speaks to is of the origin that the embed was made for. */
  function embedded(main) {
    const origin = main.dataset.embedded;
    const tell = (event, said = {}) => parent.postMessage({ headwater: event, ...said }, origin);
    const failed = (code, message) => tell('error', { code, message });
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

    async function start(given, theme) {
      token = String(given);
      dress(theme);
      try {
        const overlay = (await page(`${location.pathname}/form`)).querySelector('[data-overlay]');
        // Nothing leads to other pages of the console, which cannot be shown here.
        for (const link of all('a[data-dialog]', overlay)) link.remove();
        main.replaceChildren(overlay);
        form = open(main);
        tell('ready');
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
      tell('closed');
    }

    around = {
      tested: (outcome, code) => tell('tested', { outcome, class: code }),
      refused(error) {
        if (error instanceof TypeError) failed('unreachable', reason(error));
        else if (error.code?.startsWith('embed_')) failed(error.code.slice('embed_'.length), error.message);
        else if (!form) failed('refused', error.message);
      },
      saved(saved) {
        tell('saved', { connection: saved.name, title: saved.title, connector: saved.connector, status: saved.health });
        tell('closed');
      },
    };
    window.addEventListener('message', (event) => {
      if (event.source !== parent || event.origin !== origin) return;
      const { headwater: asked, ...said } = event.data ?? {};
      if (asked === 'start' && !token && !main.dataset.code) start(said.token, said.theme);
      if (asked === 'close') leave();
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
    tell('hello');
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

  /** Hides what does not match while somebody types. */
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
    // The server has kept what was offered.
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

  /** Follows a run. Its events say that there is something new; what it is, the page says. */
  function follow(element) {
    const source = new EventSource(`/api/v1/syncs/${encodeURIComponent(element.dataset.run)}/events`);
    let timer = null;
    const refresh = async () => {
      timer = null;
      const fresh = await page(location.href).then((found) => found.body, () => null);
      const live = fresh?.querySelector('[data-live]');
      if (!live) return;
      const said = fresh.querySelector('[data-said]').textContent;
      const saying = element.querySelector('[data-said]');
      if (saying.textContent !== said) saying.textContent = said;
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

  /** The page for authors: the form follows its schema while somebody types, or while the file changes. */
  function author(editor) {
    const said = editor.querySelector('[data-said]');
    const schema = editor.elements.schema;
    let asked = 0;
    let timer = null;
    const dress = () => all('[data-author] form[data-credential]').map((form) => new CredentialForm(form));
    const show = async (pairs) => {
      clearTimeout(timer);
      const mine = ++asked;
      const response = await fetch('/author', {
        method: 'POST', headers: { 'Headwater-Fragment': '1' }, credentials: 'same-origin', body: new URLSearchParams(pairs),
      }).catch(() => null);
      const fresh = response && new DOMParser().parseFromString(await response.text(), 'text/html');
      if (mine !== asked) return;
      const seen = fresh?.querySelector('[data-author]');
      // While the text is no JSON yet, the form before stays.
      const wrong = seen ? seen.querySelector('[data-author-problem]') : fresh?.querySelector('p') ?? { textContent: own.no_answer };
      if (wrong) schema.setAttribute('aria-invalid', 'true');
      else schema.removeAttribute('aria-invalid');
      said.textContent = wrong?.textContent ?? seen.querySelector('[data-author-findings]').textContent;
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
