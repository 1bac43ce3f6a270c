//! The form is sent in two ways: by the script, as JSON, and by a browser without it, as the pairs of a plain form. Both
//! are the same answer.
//!
//! Inputs are made up and typed into the form of each connector and into one with every kind of field. Then the form is
//! sent in both ways from the same document, and what arrives is compared as the service reads it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use acceptance::browser::Browser;
use fastrand::Rng;
use headwater_console::{CredentialForm, Messages, Page, Theme, answer, credential};
use headwater_core::{FormModel, tidy};
use headwater_testkit::{Reply, Script};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::pages::{POLICY, samples, shown};

/// What is sent is on its way for so long at most.
const PATIENCE: Duration = Duration::from_secs(15);
const ROUNDS_OF_A_CONNECTOR: usize = 40;
const ROUNDS_OF_ALL_KINDS: usize = 120;
const CHANGES: usize = 12;

const NUMBERS: &[&str] = &[
    "0",
    "5",
    "5.0",
    "-0",
    "-0.0",
    "+5",
    "007",
    "0.10",
    "0.5",
    ".5",
    "5.",
    "1e2",
    "1E+2",
    "1e-400",
    "1e400",
    "-1e400",
    "9007199254740993",
    "-9007199254740993",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "123456789012345678901234567890",
    "0.1000000000000000055511151231257827",
    "1,5",
    "1_000",
    "0x10",
    "NaN",
    "Infinity",
    "٣",
    "- 5",
    " 42 ",
    "\u{a0}42",
    "\u{feff}42",
    "42\u{85}",
    "42\u{2028}",
    "42\u{200b}",
    "many",
    "true",
    "\u{2022}\u{2022}",
];

const TEXTS: &[&str] = &[
    " ",
    "  padded ",
    "\ttab",
    "plain",
    "Größe 😀 日本",
    "e\u{301}",
    "نص من اليمين",
    "\u{202e}turned",
    "zero\u{200b}width",
    "\u{200f}mark",
    "\u{feff}mark\u{feff}",
    "\u{85}next\u{85}",
    "\u{a0}blank\u{a0}",
    "\u{2022}\u{2022}\u{2022}\u{2022}",
    "••••••••",
    "****",
    "a&b=c+d%20e;f",
    "<b>&amp;</b>",
    "\"quoted\"",
    "'quoted'",
    "\" inside \"",
    "null",
    "true",
    "5",
    "{}",
    "[1]",
    "\\n",
    "one\r\ntwo",
    "one\ntwo\n",
    "\n\nafter",
    "one\rtwo",
    "a\u{2028}b",
    "__proto__",
    "value ",
];

const DATES: &[&str] = &[
    "2026-01-31",
    "2024-02-29",
    "2026-02-30",
    "yesterday",
    "0001-01-01",
];

const ADDRESSES: &[&str] = &[
    "https://example.com",
    " https://example.com/ ",
    "\"https://example.com\"",
    "https://example.com/ü",
    "HTTPS://EXAMPLE.COM",
    "example.com",
    "http://[::1]:8080/",
    "https://u:p@example.com/?q=1#x",
    "\u{feff}https://example.com",
];

/// Two values of each kind of field, most of them with what is hard about it.
fn all_kinds() -> FormModel {
    let secret = json!({ "type": "string", "format": "password", "writeOnly": true });
    let with = |mut schema: Value, hint: &str, value: Value| {
        schema["x-headwater"] = json!({ hint: value });
        schema
    };
    let text = || json!({ "type": "string" });
    let of = |items: Value| json!({ "type": "array", "items": items });
    let or = |mut schema: Value, default: Value| {
        schema["default"] = default;
        schema
    };
    let branch = |tag: &str, value: Value, fields: Vec<(&str, Value)>| {
        let mut branch = object(fields, &[]);
        branch["title"] = value.to_string().into();
        branch["properties"][tag] = json!({ "const": value });
        branch
    };
    let auth = [
        branch(
            "by",
            json!("key"),
            vec![("key", secret.clone()), ("note", text())],
        ),
        branch(
            "by",
            json!("token"),
            vec![
                ("key", with(secret.clone(), "multiline", json!(true))),
                ("scope", json!({ "enum": ["read", "write"] })),
            ],
        ),
        branch("by", json!("nothing"), vec![]),
    ];
    let storage = [
        branch(
            "kind",
            json!("disk"),
            vec![("path", text()), ("size", json!({ "type": "integer" }))],
        ),
        branch(
            "kind",
            json!(9_007_199_254_740_993_u64),
            vec![("on", or(json!({ "type": "boolean" }), json!(true)))],
        ),
        branch(
            "kind",
            json!(1.0),
            vec![
                ("names", of(text())),
                ("from", json!({ "type": "string", "format": "date" })),
            ],
        ),
        branch(
            "kind",
            json!(true),
            vec![
                ("marks", or(of(json!({ "enum": ["a", "b"] })), json!(["a"]))),
                ("secret", secret.clone()),
            ],
        ),
        branch(
            "kind",
            json!(" e "),
            vec![("ratio", or(json!({ "type": "number" }), json!(5)))],
        ),
    ];
    let date = || json!({ "type": "string", "format": "date" });
    let address = || json!({ "type": "string", "format": "uri" });
    let mut schema = object(
        vec![
            ("auth", json!({ "oneOf": auth })),
            ("storage", json!({ "oneOf": storage })),
            (
                "constructor",
                object(
                    vec![
                        ("limit", or(json!({ "type": "integer" }), json!(0))),
                        ("ratio", or(json!({ "type": "number" }), json!(0.1))),
                        ("toString", text()),
                    ],
                    &["toString"],
                ),
            ),
            (
                "a/b ~ ü",
                object(
                    vec![
                        ("on", or(json!({ "type": "boolean" }), json!(true))),
                        ("off", or(json!({ "type": "boolean" }), json!(false))),
                        ("__proto__", text()),
                        ("secret", secret.clone()),
                    ],
                    &[],
                ),
            ),
            ("size", or(json!({ "type": "integer" }), json!(5))),
            (
                "big",
                or(
                    json!({ "type": "integer" }),
                    json!(9_007_199_254_740_993_u64),
                ),
            ),
            ("count", json!({ "type": "integer" })),
            ("factor", or(json!({ "type": "number" }), json!(5.0))),
            ("share", json!({ "type": "number" })),
            ("switch", or(json!({ "type": "boolean" }), json!(true))),
            (
                "id",
                json!({ "enum": [9_007_199_254_740_993_u64, 1.0, 0.5, 2] }),
            ),
            ("odd", json!({ "enum": ["value ", " ", "two\nlines"] })),
            (
                "mode",
                or(json!({ "enum": ["fast", "slow"] }), json!("fast")),
            ),
            ("needed", json!({ "enum": ["one", "two"] })),
            ("name", text()),
            ("padded", or(text(), json!("  padded "))),
            (
                "long",
                with(or(text(), json!("one\ntwo\n")), "multiline", json!(true)),
            ),
            (
                "address",
                with(
                    or(address(), json!("https://example.com")),
                    "destination",
                    json!(true),
                ),
            ),
            ("mirror", address()),
            ("day", date()),
            ("since", or(date(), json!("2026-01-31"))),
            ("names", of(text())),
            ("codes", or(of(text()), json!(["plain", "5"]))),
            ("numbers", of(json!({ "type": "integer" }))),
            (
                "parts",
                or(of(json!({ "type": "number" })), json!([0.1, 5])),
            ),
            ("flags", of(json!({ "type": "boolean" }))),
            ("days", of(date())),
            (
                "types",
                or(of(json!({ "enum": ["value ", "b", 1.0] })), json!(["b"])),
            ),
            (
                "more",
                of(json!({ "enum": [9_007_199_254_740_993_u64, "two\nlines"] })),
            ),
            ("secret", with(secret.clone(), "knownPrefix", json!("sk_"))),
            ("certificate", with(secret, "multiline", json!(true))),
        ],
        &[
            "auth",
            "constructor",
            "count",
            "needed",
            "name",
            "names",
            "secret",
        ],
    );
    schema["title"] = "Everything".into();
    FormModel::from_schema("Everything", &[], &schema).unwrap_or_else(|wrong| panic!("{wrong:?}"))
}

/// An object of these fields, in this order.
fn object(fields: Vec<(&str, Value)>, required: &[&str]) -> Value {
    let mut properties = json!({});
    for (place, (name, mut field)) in fields.into_iter().enumerate() {
        field["title"] = format!("The {name}").into();
        field["description"] = "What it is for.".into();
        field["x-headwater"]["order"] = (place + 1).into();
        properties[name] = field;
    }
    json!({ "type": "object", "properties": properties, "required": required, "title": "Some", "description": "Them." })
}

/// A site with these pages which takes down what is posted: the script is refused, and a form is told that there is
/// nothing to see.
async fn site(pages: Vec<(String, Page)>, text: &Messages) -> (Script, UnboundedReceiver<Posted>) {
    let frame = samples::frame(Theme::Light);
    let documents: BTreeMap<String, String> = pages
        .into_iter()
        .map(|(name, page)| (format!("/{name}"), page.document(&frame, text)))
        .collect();
    let (posts, posted) = unbounded_channel();
    let script = Script::start(move |request| {
        if request.method() != "GET" {
            let target = request.target.clone();
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let _ = posts.send(Posted {
                target: target.clone(),
                body,
            });
            return match target.starts_with("/api/") {
                true => Reply::json(422, "{}"),
                false => Reply::full(204, &[], b""),
            };
        }
        shown(&documents, &format!("{POLICY}; frame-src 'self'"), request)
    });
    (script.await.unwrap(), posted)
}

/// What was posted where.
struct Posted {
    target: String,
    body: String,
}

/// Waits for the plain form. Returns what the script posted last to an address with this part, and what the form did.
async fn both(posted: &mut UnboundedReceiver<Posted>, part: &str) -> (Posted, Posted) {
    let mut sent = None;
    let wanted = async {
        loop {
            let post = posted.recv().await.expect("the site is there");
            if !post.target.starts_with("/api/") {
                return post;
            }
            if post.target.contains(part) {
                sent = Some(post);
            }
        }
    };
    let plain = tokio::time::timeout(PATIENCE, wanted).await;
    let plain = plain.expect("the form is posted");
    (
        sent.unwrap_or_else(|| panic!("the script posts nothing to {part}")),
        plain,
    )
}

/// An input as the browser has it.
#[derive(Deserialize)]
struct Input {
    /// The field's.
    kind: String,
    /// The element's.
    r#type: String,
    /// What it begins with.
    text: String,
    /// How many options it has.
    options: usize,
    /// The tag that decides about the alternative around it, and the alternative.
    inside: Option<(String, String)>,
    /// The tag that it decides about, and the alternative of each of its options.
    chooses: Option<(String, Vec<Option<String>>)>,
}

/// Everything that can be filled in, kept in the page under its place. The plain form is sent into a frame, so that the
/// page stays.
const INPUTS: &str = "const form = document.querySelector('form[data-credential]');
    const elsewhere = document.createElement('iframe');
    elsewhere.name = form.target = 'elsewhere';
    document.body.append(elsewhere);
    window.inputs = [...form.elements].filter((one) => one.name && one.type !== 'hidden' && !one.matches('button'));
    return inputs.map((one) => {
      const field = one.closest('[data-pointer]'), branch = one.closest('.branch');
      const options = [...one.options ?? [one]].map((option) => option.dataset.branch ?? null);
      return { kind: field.dataset.kind, type: one.type, text: one.defaultValue ?? '', options: options.length,
        inside: branch && [branch.closest('[data-kind=tag]').dataset.pointer, branch.dataset.branch],
        chooses: field.dataset.kind === 'tag' ? [field.dataset.pointer, options] : null };
    })";

/// Does the steps and then lets the script send, which is one of `judge`, `test` and `save`. At last the form is posted
/// as a browser without the script does it: no alternative is switched off, and what was pasted stands as it was.
const ROUND: &str = "const done = arguments[arguments.length - 1];
    const form = document.querySelector('form[data-credential]');
    const soon = () => new Promise((resolve) => setTimeout(resolve));
    const tell = (one, name) => one.dispatchEvent(new Event(name, { bubbles: true }));
    const pasted = new Map();
    const round = async () => {
      // What is saved stays where nobody touches it.
      if (steps.length) form.reset();
      const tag = form.querySelector('[data-kind=tag] :is(input, select)');
      if (tag) tell(tag, 'change');
      for (const [place, what, value] of steps) {
        const one = inputs[place];
        pasted.delete(one);
        if (what === 'check') one.checked = value;
        else if (what === 'option') one.selectedIndex = value;
        else one.value = value;
        if (what === 'paste') {
          pasted.set(one, one.value);
          tell(one, 'paste');
          await soon();
        }
        tell(one, 'input');
        tell(one, 'change');
      }
      if (way === 'judge') {
        const one = inputs.find((one) => one.closest('[data-pointer]').dataset.kind !== 'own');
        tell(one, 'input');
        const asked = new Promise((resolve) => {
          const real = window.fetch;
          window.fetch = (...request) => {
            window.fetch = real;
            const answer = real(...request);
            answer.finally(resolve);
            return answer;
          };
        });
        tell(one, 'focusout');
        await asked;
      } else {
        form.requestSubmit(form.querySelector(`footer button[value=${way}]`));
        while (form.querySelector('footer [aria-disabled]')) await soon();
      }
      for (const [one, text] of pasted) one.value = text;
      for (const branch of form.querySelectorAll('.branch')) branch.disabled = false;
      form.submit();
    };
    round().then(() => done('sent'), (error) => done(String(error)));";

/// What somebody types, chooses and pastes: a step is the place of an input, what is done there, and the value.
fn steps(random: &mut Rng, inputs: &[Input]) -> Vec<Value> {
    let all = || inputs.iter().enumerate();
    let mut steps = Vec::new();
    for (place, input) in all() {
        if input.inside.is_none() && input.chooses.is_none() {
            steps.extend(step(random, place, input));
        }
    }
    let choosing: Vec<usize> = all()
        .filter(|(_, input)| input.chooses.is_some())
        .map(|(place, _)| place)
        .collect();
    // What is typed into one alternative stays there when another is chosen.
    for _ in 0..random.usize(..6) {
        let Some(place) = random.choice(&choosing).copied() else {
            break;
        };
        let Some((tag, branches)) = &inputs[place].chooses else {
            continue;
        };
        let option = random.usize(..branches.len());
        steps.push(match inputs[place].r#type.as_str() {
            "radio" => json!([place, "check", true]),
            _ => json!([place, "option", option]),
        });
        for (inside, input) in all() {
            let is_inside = input.inside.as_ref().is_some_and(|(own, branch)| {
                own == tag && Some(branch) == branches[option].as_ref()
            });
            if is_inside {
                steps.extend(step(random, inside, input));
            }
        }
    }
    steps
}

fn step(random: &mut Rng, place: usize, input: &Input) -> Option<Value> {
    if random.u8(..4) == 0 {
        return None;
    }
    Some(match input.r#type.as_str() {
        "checkbox" => json!([place, "check", random.bool()]),
        "select-one" => json!([place, "option", random.usize(..input.options)]),
        _ => {
            let text = text(random, input);
            // Of blanks alone nothing is left in the input, as if nothing had been pasted.
            let is_pasted =
                input.kind == "secret" && !text.trim().is_empty() && random.u8(..3) == 0;
            json!([place, if is_pasted { "paste" } else { "type" }, text])
        }
    })
}

fn text(random: &mut Rng, input: &Input) -> String {
    let mut one = |of: &[&str]| of[random.usize(..of.len())].to_owned();
    let line = match input.kind.trim_start_matches("list-") {
        "integer" | "number" => one(NUMBERS),
        "date" => one(DATES),
        "url" => one(ADDRESSES),
        "boolean" => one(&["true", "false", " true ", "True", "yes", "1"]),
        _ => one(TEXTS),
    };
    match random.u8(..10) {
        0 => String::new(),
        1 => input.text.clone(),
        2 => TEXTS[random.usize(..TEXTS.len())].to_owned(),
        _ if input.kind.starts_with("list-") && random.u8(..4) > 0 => {
            let ending = ["\n", "\r\n", " \n\t", "\n\n"][random.usize(..4)];
            let next = Input {
                text: String::new(),
                kind: input.kind.clone(),
                r#type: String::new(),
                options: 0,
                inside: None,
                chooses: None,
            };
            format!("{line}{ending}{}", text(random, &next))
        }
        _ => line,
    }
}

/// What differs between two answers, told by the fields at the top.
fn differences(sent: &Value, plain: &Value) -> Vec<String> {
    let none = Map::new();
    let [one, other] = [sent, plain].map(|answer| answer.as_object().unwrap_or(&none));
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let written = |answer: &Map<String, Value>, name: &str| answer.get(name).map(Value::to_string);
    let differing = names
        .into_iter()
        .filter(|name| written(one, name) != written(other, name));
    differing
        .map(|name| {
            format!(
                "{name}: the script sends {:?}, the plain form {:?}",
                written(one, name),
                written(other, name)
            )
        })
        .collect()
}

/// Fills in the open form and lets it be sent in both ways: what the script posts, and the pairs of the plain form.
async fn send(
    browser: &Browser,
    posted: &mut UnboundedReceiver<Posted>,
    way: &str,
    steps: &[Value],
) -> (String, Vec<(String, String)>) {
    let steps = json!(steps);
    let script = format!("const steps = {steps}, way = '{way}'; {ROUND}");
    assert_eq!(browser.run_later(&script).await, "sent", "{steps}");
    let part = match way {
        "judge" => "/validate",
        "test" => "/probe",
        _ => "/connections",
    };
    let (sent, plain) = both(posted, part).await;
    let pairs = form_urlencoded::parse(plain.body.as_bytes()).into_owned();
    (sent.body, pairs.collect())
}

async fn inputs(browser: &Browser) -> Vec<Input> {
    serde_json::from_value(browser.run(INPUTS).await).unwrap()
}

/// Takes the form away, so that nobody is asked whether what was typed may be lost.
async fn leave(browser: &Browser) {
    let script = "document.querySelector('form[data-credential]').remove()";
    browser.run(script).await;
}

#[tokio::test]
async fn the_script_and_a_plain_form_send_the_same_answer() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let text = Messages::english().unwrap();
    let real = [samples::copilot(), samples::claribi(), samples::revenue()];
    let forms = real.map(|source| {
        let form = samples::form(&source.id, &source.name);
        (source, form, ROUNDS_OF_A_CONNECTOR)
    });
    let everything = samples::source("everything", "Everything", "Nothing.");
    let forms: Vec<_> = forms
        .into_iter()
        .chain([(everything, all_kinds(), ROUNDS_OF_ALL_KINDS)])
        .collect();
    let pages = forms.iter().map(|(source, form, _)| {
        let view = samples::new_form(source, form);
        (source.id.clone(), credential(&view, &text))
    });
    let (site, mut posted) = site(pages.collect(), &text).await;
    let Some(browser) = Browser::start(&site.base_url()).await else {
        return;
    };
    let mut wrong = Vec::new();
    for (source, form, rounds) in &forms {
        browser.go(&format!("/{}", source.id)).await;
        let inputs = inputs(&browser).await;
        for round in 0..*rounds {
            let way = ["judge", "test", "save"][round % 3];
            let steps = steps(&mut random, &inputs);
            let (sent, pairs) = send(&browser, &mut posted, way, &steps).await;
            let Ok(mut sent) = serde_json::from_str::<Value>(&sent) else {
                wrong.push(format!("what the script sends is no JSON: {sent}"));
                continue;
            };
            if way == "save" {
                for name in ["title", "description"] {
                    let plain = pairs.iter().find(|(known, _)| known == name);
                    let plain = plain.map(|(_, text)| text.replace("\r\n", "\n"));
                    assert_eq!(sent[name].as_str(), plain.as_deref(), "seed {seed}");
                }
            }
            let mut sent = sent["config"].take();
            let mut plain = answer(form, pairs);
            // The script takes off what pasting brought along and says so at once, the service when it reads the answer.
            if steps.iter().any(|step| step[1] == "paste") {
                tidy(form, &mut sent);
                tidy(form, &mut plain);
            }
            wrong.extend(differences(&sent, &plain));
        }
        leave(&browser).await;
    }
    assert!(
        wrong.is_empty(),
        "seed {seed}: {} differ: {wrong:#?}",
        wrong.len()
    );
    browser.close().await;
}

/// What a change (JSON Merge Patch, RFC 7396) makes of a config.
fn merge(config: &mut Value, change: &Value) {
    let Some(change) = change.as_object() else {
        *config = change.clone();
        return;
    };
    if !config.is_object() {
        *config = json!({});
    }
    for (name, value) in change {
        match value {
            Value::Null => drop(config.as_object_mut().unwrap().remove(name)),
            value => merge(&mut config[name], value),
        }
    }
}

/// The same with whole numbers written as such: whether 5 or 5.0 is saved is no change.
fn plainly(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                (float as i64).into()
            }
            _ => value.clone(),
        },
        Value::Array(values) => values.iter().map(plainly).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (name.clone(), plainly(value)))
                .collect()
        }
        _ => value.clone(),
    }
}

#[tokio::test]
async fn what_is_changed_in_a_saved_answer_is_all_that_the_script_sends() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let text = Messages::english().unwrap();
    let (source, form) = (
        samples::source("everything", "Everything", "Nothing."),
        all_kinds(),
    );
    let new = credential(&samples::new_form(&source, &form), &text);
    let (first, mut posted) = site(vec![("new".to_owned(), new)], &text).await;
    let Some(browser) = Browser::start(&first.base_url()).await else {
        return;
    };
    browser.go("/new").await;
    let inputs_of_new = inputs(&browser).await;
    let mut answers = Vec::new();
    for _ in 0..=CHANGES {
        let mut steps = steps(&mut random, &inputs_of_new);
        // No secret is saved here, so none is ever seen in a form.
        steps.retain(|step| inputs_of_new[step[0].as_u64().unwrap() as usize].kind != "secret");
        let (_, pairs) = send(&browser, &mut posted, "test", &steps).await;
        answers.push(answer(&form, pairs));
    }
    leave(&browser).await;
    browser.close().await;

    // Each is entered where the one before is saved, as in a page that was refused without the script.
    let pages = answers.windows(2).enumerate().map(|(number, pair)| {
        let saved = samples::saved_form(&source, &form, pair[0].clone(), &[]);
        let view = CredentialForm {
            answer: pair[1].clone(),
            ..saved
        };
        (number.to_string(), credential(&view, &text))
    });
    let (second, mut posted) = site(pages.collect(), &text).await;
    let browser = Browser::start(&second.base_url()).await.unwrap();
    for (number, pair) in answers.windows(2).enumerate() {
        browser.go(&format!("/{number}")).await;
        inputs(&browser).await;
        let (sent, pairs) = send(&browser, &mut posted, "save", &[]).await;
        assert_eq!(
            differences(&pair[1], &answer(&form, pairs)),
            [""; 0],
            "seed {seed}"
        );
        let sent: Value = serde_json::from_str(&sent).unwrap();
        let mut config = pair[0].clone();
        merge(&mut config, sent.get("config").unwrap_or(&json!({})));
        let (changed, entered) = (plainly(&config), plainly(&pair[1]));
        assert_eq!(
            differences(&changed, &entered),
            [""; 0],
            "seed {seed}: {sent}"
        );
        leave(&browser).await;
    }
    browser.close().await;
}
