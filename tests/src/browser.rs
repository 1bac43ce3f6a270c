//! A real Chromium, led by WebDriver (W3C), and what a test does and sees in it.
//!
//! `chromium`, `chromedriver` and axe-core are looked for on the path and in `tests/axe/node_modules`; `HEADWATER_AXE`
//! names another `axe.min.js`. Without them the tests are skipped, and say so; with `HEADWATER_REQUIRE_BROWSER=1` they
//! fail instead.
//!
//! Everything waits: for an element to be there, for a text to be seen, for a path to be reached. Nothing waits for ever.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, Once, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{client, workspace};

/// How long something may take to be there; a busy machine needs its time.
const PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);
/// How long one command to the driver may take.
const LONGEST_COMMAND: Duration = Duration::from_secs(60);
/// So many browsers run at once.
const BROWSERS: usize = 2;
/// The key under which WebDriver puts a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Ends driver and browser, which are one group of processes, and removes their folder when its input ends: so also after
/// tests that were killed.
const KEEPER: &str = r#"
folder=$1
shift
setsid "$@" &
read -r _
kill -KILL "-$!"
wait
rm -rf "$folder" || { sleep 1; rm -rf "$folder"; }
"#;

const HELPERS: &str = include_str!("browser.js");

const AXE: &str = "const done = arguments[arguments.length - 1];
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
    const ended = document.getAnimations().filter((one) => one.effect.getTiming().iterations !== Infinity).map((one) => one.finished.catch(() => 0));
    Promise.all(ended)
      .then(() => axe.run(document, { runOnly: tags, resultTypes: ['violations'] }))
      .then((found) => found.violations.map((one) => `${one.id}: ${one.help}: ` + one.nodes.map((node) => `${node.target.join(' ')} ${node.failureSummary}`).join('; ')),
            (error) => [String(error)])
      .then(done);";

static PLACES: Semaphore = Semaphore::const_new(BROWSERS);
/// Browsers that a test is done with. Starting one takes longer than most tests.
static IDLE: Mutex<Vec<Driver>> = Mutex::new(Vec::new());

/// What has to be there.
struct Programs {
    chromium: PathBuf,
    driver: PathBuf,
    axe: PathBuf,
}

/// A driver with its browser.
struct Driver {
    keeper: Child,
    /// Where sessions are begun.
    sessions: String,
    /// The session.
    address: String,
    profile: PathBuf,
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// A window of its own, in a browser that remembers nothing of other tests.
pub struct Browser {
    driver: Option<Driver>,
    /// Whether its profile is that of any other, so that the next test may have it.
    is_plain: bool,
    client: Client,
    site: String,
    axe: String,
    _place: SemaphorePermit<'static>,
}

impl Browser {
    /// A window for pages of `site` (`http://127.0.0.1:PORT`); none where there is no browser.
    pub async fn start(site: &str) -> Option<Self> {
        Self::start_in(site, None).await
    }

    /// The same in a browser of its own, into whose profile this puts something before it is opened again.
    pub async fn start_with(site: &str, prepare: fn(&Path, &str)) -> Option<Self> {
        Self::start_in(site, Some(prepare)).await
    }

    async fn start_in(site: &str, prepare: Option<fn(&Path, &str)>) -> Option<Self> {
        let programs = match programs() {
            Ok(programs) => programs,
            Err(missing) => {
                skip(&missing);
                return None;
            }
        };
        let place = PLACES.acquire().await.expect("never closed");
        let client = client().timeout(LONGEST_COMMAND);
        let client = client.build().expect("a client");
        let idle = || IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let driver = match prepare {
            Some(prepare) => {
                let mut driver = launch(&programs, &client).await;
                driver.end(&client).await;
                prepare(&driver.profile, site);
                driver.begin(&programs, &client).await;
                driver
            }
            None => match idle() {
                Some(driver) => driver,
                None => launch(&programs, &client).await,
            },
        };
        let browser = Self {
            driver: Some(driver),
            is_plain: prepare.is_none(),
            client,
            site: site.to_owned(),
            axe: fs::read_to_string(programs.axe).expect("axe-core"),
            _place: place,
        };
        browser.begin().await;
        Some(browser)
    }

    /// A new window without a past takes the place of the last test's.
    async fn begin(&self) {
        self.cdp("Storage.clearCookies", json!({})).await;
        let old = self.get("/window/handles").await;
        self.new_window().await;
        let new = self.get("/window").await;
        for handle in old.as_array().into_iter().flatten() {
            self.switch(handle).await;
            self.command(Method::DELETE, "/window", Value::Null).await;
        }
        self.switch(&new).await;
        self.cdp("Page.bringToFront", json!({})).await;
        self.complaints().await;
    }

    /// Ends a test: nothing may have been complained about, and the next test may have the browser.
    pub async fn close(mut self) {
        self.is_quiet().await;
        let driver = self.driver.take().filter(|_| self.is_plain);
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        idle.extend(driver);
    }

    // -- Where

    /// Opens a path of the site.
    pub async fn go(&self, path: &str) {
        let address = format!("{}{path}", self.site);
        self.post("/url", json!({ "url": address })).await;
    }

    /// The path with its query that the window is at.
    pub async fn path(&self) -> String {
        let path = self.run("return location.pathname + location.search").await;
        path.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the window is at this path.
    pub async fn is_at(&self, path: &str) {
        let script = "return document.readyState === 'complete' && location.pathname + location.search === arguments[0]";
        self.until(&format!("the path {path}"), script, json!([path]))
            .await;
    }

    /// One page back.
    pub async fn back(&self) {
        self.post("/back", json!({})).await;
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        self.post("/refresh", json!({})).await;
    }

    /// Opens another window of the same browser and goes there. Returns this one and the other.
    pub async fn second_window(&self) -> (Value, Value) {
        let first = self.get("/window").await;
        self.new_window().await;
        (first, self.get("/window").await)
    }

    /// Goes to a window.
    pub async fn switch(&self, handle: &Value) {
        self.post("/window", json!({ "handle": handle })).await;
    }

    async fn new_window(&self) {
        let made = self.post("/window/new", json!({ "type": "tab" })).await;
        self.switch(&made["handle"]).await;
    }

    /// Goes into the frame that this selector finds.
    pub async fn enter_frame(&self, selector: &str) {
        let script = "return document.querySelector(arguments[0])";
        let what = format!("the frame {selector}");
        let frame = self.until(&what, script, json!([selector])).await;
        self.post("/frame", json!({ "id": frame })).await;
    }

    /// Back to the page around all frames.
    pub async fn leave_frames(&self) {
        self.post("/frame", json!({ "id": null })).await;
    }

    // -- What is done

    /// Clicks the button, link, choice or heading to unfold that is called so, as soon as it can be clicked.
    pub async fn click(&self, name: &str) {
        self.click_found(name, "return centred(control(arguments[0]))", name)
            .await;
    }

    /// Clicks what this selector finds first.
    pub async fn click_at(&self, selector: &str) {
        let script = "return centred(top_().querySelector(arguments[0]))";
        self.click_found(selector, script, selector).await;
    }

    async fn click_found(&self, what: &str, script: &str, argument: &str) {
        let started = Instant::now();
        loop {
            let found = self
                .try_run(script, json!([argument]))
                .await
                .unwrap_or_default();
            if let Some(id) = found[ELEMENT].as_str() {
                let path = format!("/element/{id}/click");
                if self.request(Method::POST, &path, json!({})).await.is_ok() {
                    return;
                }
            }
            self.still(started, &format!("something to click: {what}"))
                .await;
        }
    }

    /// Types a text into the field that is called so, instead of what was in it.
    pub async fn fill(&self, name: &str, text: &str) {
        let script = "return centred(field(arguments[0]))";
        let what = format!("the field {name}");
        let found = self.until(&what, script, json!([name])).await;
        let id = found[ELEMENT].as_str().expect("an element");
        self.run_with("arguments[0].focus()", json!([found])).await;
        self.press("Control+a").await;
        if text.is_empty() {
            self.press("Delete").await;
            return;
        }
        let path = format!("/element/{id}/value");
        self.post(&path, json!({ "text": text })).await;
    }

    /// Chooses an option of the list that is called so.
    pub async fn select(&self, name: &str, option: &str) {
        let script = "const list = field(arguments[0]);
            const option = [...list?.options ?? []].find((one) => tidy(one.text) === arguments[1]);
            if (!option) return false;
            list.value = option.value;
            list.dispatchEvent(new Event('change', { bubbles: true }));
            return true;";
        let what = format!("{option} in the list {name}");
        self.until(&what, script, json!([name, option])).await;
    }

    /// Holds a key that removes the frame with the focus. The driver never returns from the release of a key in a frame
    /// that no longer exists.
    pub async fn hold(&self, name: &str) {
        self.act(vec![json!({ "type": "keyDown", "value": key(name) })])
            .await;
    }

    /// Releases all keys.
    pub async fn release(&self) {
        self.command(Method::DELETE, "/actions", Value::Null).await;
    }

    /// Presses keys together: `Tab`, `Shift+Tab`, `Control+Enter`, `a`.
    pub async fn press(&self, keys: &str) {
        let keys: Vec<String> = keys.split('+').map(key).collect();
        let action = |kind: &'static str| move |key: &String| json!({ "type": kind, "value": key });
        let down = keys.iter().map(action("keyDown"));
        let up = keys.iter().rev().map(action("keyUp"));
        self.act(down.chain(up).collect()).await;
    }

    async fn act(&self, actions: Vec<Value>) {
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.post("/actions", json!({ "actions": [keyboard] }))
            .await;
    }

    /// Types a text where the focus is.
    pub async fn write(&self, text: &str) {
        let active = self.get("/element/active").await;
        let id = active[ELEMENT].as_str().expect("an element has the focus");
        let path = format!("/element/{id}/value");
        self.post(&path, json!({ "text": text })).await;
    }

    /// Presses Tab until what has the focus is called so. On the way nothing that has it is covered.
    pub async fn tab_to(&self, name: &str) {
        let mut seen = Vec::new();
        for _ in 0..120 {
            let focused = self.focused().await;
            self.focus_is_not_covered().await;
            if focused.starts_with(name) {
                return;
            }
            seen.push(focused);
            self.press("Tab").await;
        }
        panic!("Tab never reaches {name}; it was at {seen:?}");
    }

    // -- What is seen

    /// Waits until a text is seen.
    pub async fn sees(&self, text: &str) {
        let script = "return tidy(document.body?.innerText).includes(arguments[0])";
        self.until(&format!("the text {text:?}"), script, json!([text]))
            .await;
    }

    /// Waits until a text is not seen any more.
    pub async fn no_longer_sees(&self, text: &str) {
        let script =
            "return document.body && !tidy(document.body.innerText).includes(arguments[0])";
        self.until(&format!("no text {text:?}"), script, json!([text]))
            .await;
    }

    /// What is called so: a value that was typed.
    pub async fn value(&self, name: &str) -> String {
        let script = "const found = field(arguments[0]); return found && { value: found.value }";
        let found = self
            .until(&format!("the field {name}"), script, json!([name]))
            .await;
        found["value"].as_str().unwrap_or_default().to_owned()
    }

    /// What is called by the name of what has the focus.
    pub async fn focused(&self) -> String {
        let name = self.run("return nameOf(document.activeElement)").await;
        name.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until what is called so has the focus.
    pub async fn focus_is_at(&self, name: &str) {
        let script =
            "return document.hasFocus() && nameOf(document.activeElement).startsWith(arguments[0])";
        self.until(&format!("the focus at {name}"), script, json!([name]))
            .await;
    }

    /// Runs a script in the page and returns what it returns. The helpers of `browser.js` are there.
    pub async fn run(&self, script: &str) -> Value {
        self.run_with(script, json!([])).await
    }

    /// The same with arguments.
    pub async fn run_with(&self, script: &str, arguments: Value) -> Value {
        match self.try_run(script, arguments).await {
            Ok(value) => value,
            Err(error) => panic!("the script {script:?} fails: {error}"),
        }
    }

    /// Runs a script whose last argument is a function that takes its result.
    pub async fn run_later(&self, script: &str) -> Value {
        let script = format!("{HELPERS}\n{script}");
        let body = json!({ "script": script, "args": [] });
        self.post("/execute/async", body).await
    }

    /// Waits until a script returns something that counts as true, and returns it.
    pub async fn until(&self, what: &str, script: &str, arguments: Value) -> Value {
        let started = Instant::now();
        loop {
            // A page that is being left has no answer.
            let value = self
                .try_run(script, arguments.clone())
                .await
                .unwrap_or_default();
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            self.still(started, what).await;
        }
    }

    /// Waits a little; after all patience tells what is there instead.
    async fn still(&self, started: Instant, what: &str) {
        if started.elapsed() < PATIENCE {
            tokio::time::sleep(POLL).await;
            return;
        }
        let path = self.screenshot(&format!("failed-{}", test_name())).await;
        let there = self.run("return location.href + ' has the focus at ' + nameOf(document.activeElement) + ' and shows: ' + tidy(top_().innerText ?? document.body.innerText)").await;
        panic!(
            "there is not {what}; the window ({}) is at {there}",
            path.display()
        );
    }

    // -- What has to be right everywhere

    /// Asserts that axe-core has nothing to say about the page as it is.
    pub async fn axe(&self) {
        let found = self.axe_complaints().await;
        if found.is_empty() {
            return;
        }
        let path = self.screenshot(&format!("axe-{}", test_name())).await;
        let at = self.path().await;
        panic!("axe complains about {at} ({}): {found:#?}", path.display());
    }

    /// What breaks the rules of WCAG 2.2 AA or of best practice, once nothing moves any more.
    pub async fn axe_complaints(&self) -> Vec<String> {
        if self.run("return !window.axe").await == true {
            self.run(&self.axe).await;
        }
        let found = self.run_later(AXE).await;
        let found: Option<Vec<String>> = serde_json::from_value(found).ok();
        found.expect("axe answers with a list")
    }

    /// Looks at a state of a page: axe, the console, nothing that has to be scrolled sideways. Keeps a picture of it.
    pub async fn inspect(&self, name: &str) {
        self.screenshot(name).await;
        self.axe().await;
        self.is_quiet().await;
        self.fits(name).await;
    }

    /// Asserts that nothing has to be scrolled sideways, and that a form over the page fills its dialog.
    pub async fn fits(&self, name: &str) {
        let script = "return [document.documentElement, ...document.querySelectorAll('dialog[open]')]
            .filter((one) => one.scrollWidth > one.clientWidth)
            .flatMap((one) => [...one.querySelectorAll('*')].filter((inside) => isShown(inside) && !inside.closest('.table-scroll, .vh')
              && (inside.getBoundingClientRect().right > one.clientWidth + 1 || inside.getBoundingClientRect().left < -1)).map((inside) => inside.outerHTML.slice(0, 100)))";
        let wide = self.run(script).await;
        assert_eq!(wide, json!([]), "{name} has to be scrolled sideways");
        let script = "const sheet = document.querySelector('dialog.sheet[open]');
            const [outer, inner] = [sheet, sheet?.querySelector('.overlay')].map((one) => one?.getBoundingClientRect());
            return sheet ? Math.abs(outer.top - inner.top) < 3 && Math.abs(outer.bottom - inner.bottom) < 3 : true";
        assert_eq!(self.run(script).await, true, "{name} leaves its dialog");
    }

    /// Asserts that all of what has the focus is seen, not below something that sticks to an edge.
    pub async fn focus_is_not_covered(&self) {
        let script = "const one = document.activeElement, box = one.getBoundingClientRect();
            if (one === document.body) return null;
            const points = [0.1, 0.5, 0.9].map((part) => [box.x + box.width / 2, box.y + box.height * part]);
            const covers = points.map(([x, y]) => document.elementFromPoint(x, y)).filter((top) => !(top && (one.contains(top) || top.contains(one))));
            return covers.length ? nameOf(one) + ' is covered by ' + covers[0]?.className : null";
        assert_eq!(self.run(script).await, Value::Null);
    }

    /// Asserts that the browser complained about nothing: no error of the script, no breach of the policy.
    pub async fn is_quiet(&self) {
        let complaints = self.complaints().await;
        assert!(
            complaints.is_empty(),
            "the browser complains at {}: {complaints:#?}",
            self.path().await
        );
    }

    /// What the browser complained about since the last call. That a form was refused is no complaint, nor that there is
    /// no network where a test took it away.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.post("/se/log", json!({ "type": "browser" })).await;
        let entries = entries.as_array().cloned().unwrap_or_default();
        let complaints = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        complaints
            .filter_map(|entry| entry["message"].as_str())
            .filter(|message| {
                !message.contains("responded with a status of 4")
                    && !message.contains("net::ERR_INTERNET_DISCONNECTED")
            })
            .map(str::to_owned)
            .collect()
    }

    /// Keeps a picture of what is seen in `target/console-shots`.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        let folder = workspace().join("target/console-shots");
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join(format!("{name}.png"));
        let picture = self.get("/screenshot").await;
        let picture = BASE64_STANDARD.decode(picture.as_str().unwrap_or_default());
        fs::write(&path, picture.expect("base64")).expect("a file");
        path
    }

    // -- How the window is

    /// Makes the page so many pixels wide and high. Small screens have no bars for scrolling beside the page.
    pub async fn resize(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
        let bars = json!({ "hidden": width < 600 });
        self.cdp("Emulation.setScrollbarsHidden", bars).await;
    }

    /// What the system of the user prefers, for example `("prefers-color-scheme", "dark")`.
    pub async fn prefers(&self, features: &[(&str, &str)]) {
        let features = features.iter();
        let features: Vec<Value> = features
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        self.cdp(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        )
        .await;
    }

    /// Lets every page of this window be written from right to left, from the next one on.
    pub async fn right_to_left(&self) {
        self.before_every_page("document.addEventListener('DOMContentLoaded', () => { document.documentElement.dir = 'rtl'; })")
            .await;
    }

    /// Lets what pages wait for come so many times sooner, from the next page on.
    pub async fn hurry(&self, times: u32) {
        let script = format!(
            "const slow = window.setTimeout; window.setTimeout = (work, time, ...rest) => slow(work, time / {times}, ...rest)"
        );
        self.before_every_page(&script).await;
    }

    async fn before_every_page(&self, script: &str) {
        let how = json!({ "source": script });
        self.cdp("Page.addScriptToEvaluateOnNewDocument", how).await;
    }

    /// Switches the scripts of pages off or on, from the next page on.
    pub async fn scripts(&self, is_on: bool) {
        let how = json!({ "value": !is_on });
        self.cdp("Emulation.setScriptExecutionDisabled", how).await;
    }

    /// Lets every answer take so long.
    pub async fn latency(&self, latency: Duration) {
        self.network(false, latency).await;
    }

    /// Takes the network away, or gives it back.
    pub async fn offline(&self, is_offline: bool) {
        self.network(is_offline, Duration::ZERO).await;
    }

    async fn network(&self, is_offline: bool, latency: Duration) {
        let how = json!({ "offline": is_offline, "latency": latency.as_millis() as u64, "downloadThroughput": -1, "uploadThroughput": -1 });
        self.cdp("Network.enable", json!({})).await;
        self.cdp("Network.emulateNetworkConditions", how).await;
    }

    /// A command of the DevTools protocol.
    pub async fn cdp(&self, name: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": name, "params": parameters });
        self.post("/goog/cdp/execute", body).await
    }

    // -- WebDriver

    async fn try_run(&self, script: &str, arguments: Value) -> Result<Value, String> {
        let script = format!("{HELPERS}\n{script}");
        let body = json!({ "script": script, "args": arguments });
        self.request(Method::POST, "/execute/sync", body).await
    }

    async fn get(&self, path: &str) -> Value {
        self.command(Method::GET, path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.command(Method::POST, path, body).await
    }

    async fn command(&self, method: Method, path: &str, body: Value) -> Value {
        match self.request(method, path, body).await {
            Ok(value) => value,
            Err(error) => panic!("the browser refuses {path}: {error}"),
        }
    }

    async fn request(&self, method: Method, path: &str, body: Value) -> Result<Value, String> {
        let driver = self.driver.as_ref().expect("it is there until the end");
        let address = format!("{}{path}", driver.address);
        request(&self.client, method, &address, body).await
    }
}

/// A command of WebDriver, and its value or what is wrong.
async fn request(
    client: &Client,
    method: Method,
    address: &str,
    body: Value,
) -> Result<Value, String> {
    let mut request = client.request(method, address);
    if !body.is_null() {
        request = request.body(body.to_string());
    }
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let is_done = answer.status().is_success();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    let mut answer: Value = serde_json::from_str(&text).map_err(|_| text)?;
    let value = answer["value"].take();
    match is_done {
        true => Ok(value),
        false => Err(format!("{}: {}", value["error"], value["message"])),
    }
}

/// Starts a driver on a free port, and a browser with it.
async fn launch(programs: &Programs, client: &Client) -> Driver {
    // The keeper's to remove.
    let folder = tempfile::tempdir().expect("a folder").keep();
    let homes = ["HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"];
    let mut keeper = Command::new("sh")
        .args(["-c", KEEPER, "keeper"])
        .arg(&folder)
        .arg(&programs.driver)
        .arg("--port=0")
        .envs(homes.map(|name| (name, &folder)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    let said = BufReader::new(keeper.stdout.take().expect("a pipe"));
    let port = said.lines().map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse::<u16>().ok()
    });
    let port = port.expect("the driver starts");
    let mut driver = Driver {
        keeper,
        sessions: format!("http://127.0.0.1:{port}/session"),
        address: String::new(),
        profile: folder.join("profile"),
    };
    driver.begin(programs, client).await;
    driver
}

impl Driver {
    /// Starts the browser.
    async fn begin(&mut self, programs: &Programs, client: &Client) {
        let arguments = [
            "--headless=new",
            // The sandbox of Chromium refuses to run as root, as it does in most containers.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--window-size=1280,900",
            "--no-first-run",
            // Saved logins are sealed with a key that everybody knows.
            "--password-store=basic",
            &format!("--user-data-dir={}", self.profile.display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "binary": programs.chromium, "args": arguments },
        }}});
        let session = request(client, Method::POST, &self.sessions, wanted).await;
        let session = session.unwrap_or_else(|error| panic!("the browser does not start: {error}"));
        let id = session["sessionId"].as_str().expect("a session");
        self.address = format!("{}/{id}", self.sessions);
    }

    /// Ends the browser and keeps its profile.
    async fn end(&self, client: &Client) {
        let ended = request(client, Method::DELETE, &self.address, Value::Null).await;
        ended.unwrap_or_else(|error| panic!("the browser does not end: {error}"));
    }
}

fn programs() -> Result<Programs, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let find = |names: &[&str], package: &str| {
        let folders: Vec<PathBuf> = env::split_paths(&path).collect();
        let mut all = folders
            .iter()
            .flat_map(|folder| names.iter().map(|name| folder.join(name)));
        let missing = || format!("there is no {}; install the package {package}", names[0]);
        all.find(|path| path.exists()).ok_or_else(missing)
    };
    let axe = env::var_os("HEADWATER_AXE").map_or_else(
        || workspace().join("tests/axe/node_modules/axe-core/axe.min.js"),
        PathBuf::from,
    );
    if !axe.exists() {
        return Err("there is no axe-core; run `npm ci` in tests/axe".to_owned());
    }
    Ok(Programs {
        chromium: find(&["chromium", "chromium-browser"], "chromium")?,
        driver: find(&["chromedriver"], "chromium-driver")?,
        axe,
    })
}

fn skip(missing: &str) {
    static SAID: Once = Once::new();
    assert!(
        env::var_os("HEADWATER_REQUIRE_BROWSER").is_none_or(|value| value != "1"),
        "{missing}"
    );
    // Straight to the stream: what a macro prints is captured while the test passes.
    SAID.call_once(|| {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED, nothing is checked in a browser: {missing}"
        );
    });
}

/// The name of the running test, which its thread has.
fn test_name() -> String {
    let thread = std::thread::current();
    thread.name().unwrap_or("test").replace("::", "-")
}

/// A key as WebDriver writes it.
fn key(name: &str) -> String {
    let code = match name {
        "Tab" => '\u{e004}',
        "Enter" => '\u{e007}',
        "Shift" => '\u{e008}',
        "Control" => '\u{e009}',
        "Escape" => '\u{e00c}',
        "Space" => ' ',
        "ArrowUp" => '\u{e013}',
        "ArrowDown" => '\u{e015}',
        "Delete" => '\u{e017}',
        other => return other.to_owned(),
    };
    code.to_string()
}
