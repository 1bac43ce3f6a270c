//! The inputs of a form: one labelled control for each field of the form model.

use std::collections::{BTreeMap, BTreeSet};

use headwater_core::{Choice, Date, Field, FieldError, FieldKind, Notice, Timestamp};
use maud::{Markup, html};
use serde_json::Value;

use crate::{
    answer::REMOVE,
    inputs::{Branch, BranchChoice, chosen, id, is_optional, name, tag_name, text_of},
    messages::{Messages, fill},
    parts::{icon, moment},
    sentence::sentence,
};

/// More alternatives than this are a select instead of cards.
const MAX_CARDS: usize = 4;

/// Facts about a saved secret.
#[derive(Clone, Debug)]
pub struct SavedSecret {
    /// When.
    pub at: Timestamp,
    /// The person who saved it, if known.
    pub by: Option<String>,
    /// Its last characters, if the operator allows that.
    pub ending: Option<String>,
}

/// The position of a field in the form.
#[derive(Clone, Copy)]
pub(crate) struct At {
    branch: Branch,
    /// Whether the answer has chosen the alternative around it.
    is_chosen: bool,
    /// Whether the saved config has chosen it: secrets of another alternative are different ones.
    is_saved: bool,
}

impl At {
    /// Outside of all alternatives.
    pub const TOP: Self = Self {
        branch: None,
        is_chosen: true,
        is_saved: true,
    };
}

/// The values and states of the inputs.
pub(crate) struct Fields<'a> {
    /// The typed or saved answer, without secrets.
    pub answer: &'a Value,
    /// The saved answer, which has the alternative of the saved secrets.
    pub saved_answer: &'a Value,
    pub saved: &'a BTreeMap<String, SavedSecret>,
    pub asked_again: &'a BTreeMap<String, String>,
    pub replacing: &'a BTreeSet<String>,
    pub errors: &'a [FieldError],
    pub notices: &'a [Notice],
    /// The pointers of the fields that can be changed, if not all can.
    pub only: Option<&'a [String]>,
    pub text: &'a Messages,
}

impl Fields<'_> {
    /// Fields in display order: without a heading, by heading, then the folded ones.
    pub fn all(&self, fields: &[Field], at: At) -> Markup {
        let (advanced, plain): (Vec<&Field>, Vec<&Field>) =
            fields.iter().partition(|field| field.advanced);
        html! {
            (self.grouped(&plain, at))
            @if !advanced.is_empty() { (self.advanced(&advanced, at)) }
        }
    }

    fn grouped(&self, fields: &[&Field], at: At) -> Markup {
        let mut headings: Vec<Option<&str>> = Vec::new();
        for field in fields {
            let heading = field.group.as_deref();
            if !headings.contains(&heading) {
                headings.push(heading);
            }
        }
        headings.sort_by_key(Option::is_some);
        html! {
            @for heading in headings {
                @let members = fields.iter().filter(|field| field.group.as_deref() == heading);
                @if let Some(heading) = heading {
                    fieldset.group {
                        legend { (heading) }
                        @for field in members { (self.field(field, at)) }
                    }
                } @else {
                    @for field in members { (self.field(field, at)) }
                }
            }
        }
    }

    /// Folded, unless it holds a changed value or an error.
    fn advanced(&self, fields: &[&Field], at: At) -> Markup {
        let changed = fields
            .iter()
            .filter(|field| self.is_changed(field, at))
            .count();
        let has_error = fields.iter().any(|field| self.has_error_inside(field));
        let is_asked = |field: &&Field| self.only.is_some_and(|only| only.contains(&field.pointer));
        let is_open = changed > 0 || has_error || fields.iter().any(is_asked);
        html! {
            details.advanced open[is_open] {
                summary {
                    (self.text.field.advanced)
                    " " span.count data-count hidden[changed == 0] { (self.text.field.changed.count(changed)) }
                }
                div.inside { (self.grouped(fields, at)) }
            }
        }
    }

    fn is_changed(&self, field: &Field, at: At) -> bool {
        let value = self.own_value(field, at);
        value.is_some() && value != field.default.as_ref()
    }

    fn has_error_inside(&self, field: &Field) -> bool {
        self.errors.iter().any(|error| {
            let rest = error.pointer.strip_prefix(field.pointer.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    fn is_locked(&self, field: &Field) -> bool {
        self.only.is_some_and(|only| !only.contains(&field.pointer))
    }

    fn field(&self, field: &Field, at: At) -> Markup {
        match &field.kind {
            FieldKind::Group { fields } => self.group(field, fields, at),
            FieldKind::OneOf { tag, branches } => self.one_of(field, tag, branches),
            FieldKind::Secret => self.secret(field, at),
            _ if self.is_locked(field) => self.kept(field, at),
            FieldKind::Boolean => self.boolean(field, at),
            FieldKind::List { of } => match of.as_ref() {
                FieldKind::Choice { choices } => self.choices(field, choices, at),
                of => self.list(field, of, at),
            },
            _ => self.single(field, at),
        }
    }

    fn group(&self, field: &Field, fields: &[Field], at: At) -> Markup {
        html! {
            fieldset.group data-pointer=(field.pointer) data-kind="group" data-required[field.required] {
                legend { (field.title) }
                p.hint { (field.description) }
                (self.all(fields, at))
            }
        }
    }

    fn one_of(&self, field: &Field, tag: &str, branches: &[Choice]) -> Markup {
        let name = tag_name(field, tag);
        let chosen = chosen(field, tag, branches, self.answer);
        if self.only.is_some() {
            return self.kept_alternative(field, &name, branches, chosen);
        }
        let has_error = self.error_at(&name).or(self.error_at(&field.pointer));
        let base = id(&name);
        let described = described(&base, &[("error", has_error.is_some()), ("hint", true)]);
        let is_saved = |branch: &Choice| self.saved_answer.pointer(&name) == Some(&branch.value);
        let saved_number = branches.iter().position(is_saved);
        let is_open = |number: usize| chosen == BranchChoice::Branch(number);
        let inside = |number: usize| At {
            branch: Some(number),
            is_chosen: is_open(number),
            is_saved: saved_number == Some(number),
        };
        html! {
            fieldset.one-of data-pointer=(name) data-kind="tag" data-title=(field.title)
                data-saved-branch=[saved_number] {
                legend { (field.title) (self.required(field)) }
                p.hint id={ (base) "-hint" } { (field.description) }
                (self.error_text(&base, has_error))
                p.notice data-leaving hidden { (icon("warn")) (self.text.secret.leaving) }
                @if branches.len() > MAX_CARDS {
                    select id=(base) name=(name) aria-label=(field.title) aria-describedby=(described)
                        aria-invalid=[has_error.map(|_| "true")] {
                        @if is_optional(field) || chosen == BranchChoice::Undecided {
                            option value="" selected[!matches!(chosen, BranchChoice::Branch(_))] { (self.text.field.none) }
                        }
                        @for (number, branch) in branches.iter().enumerate() {
                            option value=(text_of(&branch.value)) data-value=(branch.value) data-branch=(number)
                                selected[is_open(number)] { (branch.title) }
                        }
                    }
                    @for (number, branch) in branches.iter().enumerate() {
                        @if !branch.fields.is_empty() {
                            fieldset.branch data-branch=(number) {
                                legend { (branch.title) }
                                (self.all(&branch.fields, inside(number)))
                            }
                        }
                    }
                } @else {
                    @if is_optional(field) {
                        div.alternative {
                            label.card {
                                input type="radio" name=(name) value="" checked[chosen == BranchChoice::Nothing]
                                    aria-describedby=(described);
                                span { (self.text.field.none) }
                            }
                        }
                    }
                    @for (number, branch) in branches.iter().enumerate() {
                        @let when = branch.description.as_ref().map(|_| format!("{base}-when-{number}"));
                        div.alternative {
                            label.card {
                                input id=[(number == 0).then_some(&base)] type="radio" name=(name)
                                    value=(text_of(&branch.value)) data-value=(branch.value) data-branch=(number)
                                    checked[is_open(number)] aria-invalid=[has_error.map(|_| "true")] data-when=[&when]
                                    aria-describedby={ (described) @if let Some(when) = &when { " " (when) } };
                                span {
                                    (branch.title)
                                    @if branch.recommended { " " span.tag { (self.text.field.recommended) } }
                                }
                            }
                            @if let Some(text) = &branch.description { p.hint.when id=[when] { (text) } }
                            @if !branch.fields.is_empty() {
                                fieldset.branch data-branch=(number) {
                                    legend.vh { (branch.title) }
                                    (self.all(&branch.fields, inside(number)))
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn kept_alternative(
        &self,
        field: &Field,
        name: &str,
        branches: &[Choice],
        chosen: BranchChoice,
    ) -> Markup {
        let BranchChoice::Branch(number) = chosen else {
            return html! {};
        };
        let branch = &branches[number];
        let inside = At {
            branch: Some(number),
            ..At::TOP
        };
        html! {
            fieldset.one-of data-pointer=(name) data-kind="tag" data-title=(field.title) {
                legend { (field.title) }
                p.value { (branch.title) }
                input type="hidden" name=(name) value=(text_of(&branch.value)) data-value=(branch.value)
                    data-branch=(number);
                (self.all(&branch.fields, inside))
            }
        }
    }

    /// A locked field: its value in words, and hidden inputs that send it.
    fn kept(&self, field: &Field, at: At) -> Markup {
        let name = name(&field.pointer, at.branch);
        let shown = self.value(field, at);
        let own = self.own_value(field, at);
        html! {
            div.field.kept data-pointer=(field.pointer) data-kind=(kind_name(&field.kind))
                data-default=[field.default.as_ref()] data-title=(field.title) {
                p.label { (field.title) }
                p.value { (shown.map_or_else(|| self.text.field.not_set.clone(), |value| in_words(&field.kind, value, self.text))) }
                @match own {
                    Some(Value::Array(values)) => {
                        @for value in values {
                            input type="hidden" name=(name) value=(text_of(value)) data-value=(value);
                        }
                    }
                    Some(value) => input type="hidden" name=(name) value=(text_of(value)) data-value=(value);,
                    None => {}
                }
            }
        }
    }

    fn boolean(&self, field: &Field, at: At) -> Markup {
        let frame = self.frame(field, at);
        let is_on = self.value(field, at) == Some(&Value::Bool(true));
        html! {
            div.field.switch data-pointer=(field.pointer) data-kind="boolean" data-guide=[field.guide_step]
                data-default=[field.default.as_ref()] data-title=(field.title) {
                input type="hidden" name=(frame.name) value="false";
                label for=(frame.id) {
                    input id=(frame.id) type="checkbox" name=(frame.name) value="true" checked[is_on]
                        aria-describedby=(frame.described) aria-invalid=[frame.error.map(|_| "true")];
                    span { (field.title) }
                }
                (self.hint(field, &frame.id))
                (self.error_text(&frame.id, frame.error))
                (self.notice_text(&frame.id, frame.notice))
            }
        }
    }

    fn choices(&self, field: &Field, choices: &[Choice], at: At) -> Markup {
        let frame = self.frame(field, at);
        let values = self.value(field, at).and_then(Value::as_array);
        let is_on = |choice: &Choice| values.is_some_and(|values| values.contains(&choice.value));
        html! {
            fieldset.field.choices data-pointer=(field.pointer) data-kind="choices" data-guide=[field.guide_step]
                data-default=[field.default.as_ref()] data-title=(field.title) {
                legend { (field.title) (self.required(field)) }
                (self.hint(field, &frame.id))
                (self.error_text(&frame.id, frame.error))
                (self.notice_text(&frame.id, frame.notice))
                input type="hidden" name=(frame.name) value="";
                @for (number, choice) in choices.iter().enumerate() {
                    label {
                        input id=[(number == 0).then_some(&frame.id)] type="checkbox" name=(frame.name)
                            value=(text_of(&choice.value)) data-value=(choice.value) checked[is_on(choice)]
                            aria-describedby=(frame.described) aria-invalid=[frame.error.map(|_| "true")];
                        span { (choice.title) }
                    }
                }
            }
        }
    }

    fn list(&self, field: &Field, of: &FieldKind, at: At) -> Markup {
        let frame = self.frame(field, at);
        let values = self.value(field, at).and_then(Value::as_array);
        let lines: Vec<String> = values.into_iter().flatten().map(text_of).collect();
        let rows = (lines.len() + 1).clamp(2, 8);
        html! {
            div.field data-pointer=(field.pointer) data-kind={ "list-" (kind_name(of)) }
                data-guide=[field.guide_step] data-default=[field.default.as_ref()] data-title=(field.title) {
                label for=(frame.id) { (field.title) (self.required(field)) }
                (self.hint_with(field, &frame.id, Some(&self.text.field.one_per_line)))
                (self.error_text(&frame.id, frame.error))
                textarea id=(frame.id) name=(frame.name) rows=(rows) required[field.required] spellcheck="false"
                    autocomplete="off" aria-describedby=(frame.described) aria-invalid=[frame.error.map(|_| "true")] {
                    // A parser drops a line break at the beginning of the text.
                    "\n" (lines.join("\n"))
                }
                (self.notice_text(&frame.id, frame.notice))
            }
        }
    }

    fn single(&self, field: &Field, at: At) -> Markup {
        let frame = self.frame(field, at);
        let value = self.value(field, at);
        html! {
            div.field data-pointer=(field.pointer) data-kind=(kind_name(&field.kind)) data-guide=[field.guide_step]
                data-default=[field.default.as_ref()] data-destination[field.destination] data-title=(field.title) {
                label for=(frame.id) { (field.title) (self.required(field)) }
                (self.hint(field, &frame.id))
                (self.error_text(&frame.id, frame.error))
                div.row {
                    (self.control(field, &frame, value))
                    @if field.default.is_some() && !matches!(field.kind, FieldKind::Choice { .. }) {
                        button.quiet.reset type="button" data-reset hidden {
                            (self.text.field.reset) span.vh { " " (field.title) }
                        }
                    }
                }
                @if field.destination { (self.calls(&frame)) }
                (self.notice_text(&frame.id, frame.notice))
            }
        }
    }

    /// The address of requests. The script keeps it up to date, and screen readers announce a change.
    fn calls(&self, frame: &Frame<'_>) -> Markup {
        let address = frame.address.as_deref();
        html! {
            p.calls id={ (frame.id) "-calls" } role="status" data-calls hidden[address.is_none()] {
                @if let Some(address) = address { (fill(&self.text.script.calls, &[("address", address)])) }
            }
        }
    }

    fn control(&self, field: &Field, frame: &Frame<'_>, value: Option<&Value>) -> Markup {
        let text = value.map(text_of).unwrap_or_default();
        let is_invalid = frame.error.map(|_| "true");
        if let FieldKind::Choice { choices } = &field.kind {
            let is_known = choices.iter().any(|choice| Some(&choice.value) == value);
            let has_empty = choices
                .iter()
                .any(|choice| text_of(&choice.value).is_empty());
            return html! {
                select id=(frame.id) name=(frame.name) required[field.required] aria-describedby=(frame.described)
                    aria-invalid=[is_invalid] {
                    @if !has_empty && (!is_known || is_optional(field)) {
                        option value="" selected[!is_known] { (self.text.field.none) }
                    }
                    @for choice in choices {
                        option value=(text_of(&choice.value)) data-value=(choice.value)
                            selected[Some(&choice.value) == value] { (choice.title) }
                    }
                }
            };
        }
        if field.multiline || text.contains('\n') {
            return html! {
                textarea id=(frame.id) name=(frame.name) rows="4" required[field.required] spellcheck="false"
                    autocomplete="off" aria-describedby=(frame.described) aria-invalid=[is_invalid] { "\n" (text) }
            };
        }
        let (kind, mode) = match field.kind {
            FieldKind::Url => ("url", Some("url")),
            // An input for dates cannot show other texts.
            FieldKind::Date if text.is_empty() || text.parse::<Date>().is_ok() => ("date", None),
            // An input for numbers would hide other texts from validation.
            FieldKind::Integer => ("text", Some("numeric")),
            FieldKind::Number => ("text", Some("decimal")),
            _ => ("text", None),
        };
        html! {
            input id=(frame.id) name=(frame.name) type=(kind) inputmode=[mode] value=(text) required[field.required]
                autocomplete="off" spellcheck="false" data-1p-ignore data-lpignore="true" data-bwignore
                data-form-type="other" aria-describedby=(frame.described) aria-invalid=[is_invalid];
        }
    }

    fn secret(&self, field: &Field, at: At) -> Markup {
        let frame = self.frame(field, at);
        let saved = self.saved.get(&field.pointer).filter(|_| at.is_saved);
        let reason = saved.and_then(|_| self.asked_again.get(&field.pointer));
        let is_replacing = self.replacing.contains(&frame.name)
            || reason.is_some()
            || (saved.is_some() && frame.error.is_some());
        let Some(saved) = saved else {
            return self.secret_field(
                field,
                None,
                &html! {
                    label for=(frame.id) { (field.title) (self.required(field)) }
                    (self.hint(field, &frame.id))
                    (self.error_text(&frame.id, frame.error))
                    (self.secret_input(field, &frame, false))
                    (self.notice_text(&frame.id, frame.notice))
                },
            );
        };
        let label = html! {
            @if is_replacing || !self.is_locked(field) { label for=(frame.id) { (field.title) (self.required(field)) } }
            @else { p.label { (field.title) } }
        };
        let state = if is_replacing { "replacing" } else { "saved" };
        self.secret_field(
            field,
            Some(state),
            &html! {
                (label)
                (self.hint(field, &frame.id))
                (self.error_text(&frame.id, frame.error))
                p.reason id={ (frame.id) "-reason" } hidden[reason.is_none()] {
                    (icon("info")) span { (reason.map_or_else(String::new, |reason| sentence(reason))) }
                }
                div.saved hidden[is_replacing] {
                    p { (icon("lock")) span { (self.saved_words(saved)) } }
                    @if !self.is_locked(field) {
                        button.quiet type="submit" name="replace" value=(frame.name) {
                            (self.text.secret.replace) span.vh { " " (field.title) }
                        }
                    }
                    @if is_optional(field) && !self.is_locked(field) {
                        label.remove {
                            input type="checkbox" name=(REMOVE) value=(frame.name);
                            span { (self.text.secret.remove) span.vh { " " (field.title) } }
                        }
                    }
                }
                div.replacement {
                    @if is_replacing {
                        (self.secret_input(field, &frame, true))
                    } @else if !self.is_locked(field) {
                        template { (self.secret_input(field, &frame, true)) }
                    }
                }
                (self.notice_text(&frame.id, frame.notice))
            },
        )
    }

    fn secret_field(&self, field: &Field, state: Option<&str>, inside: &Markup) -> Markup {
        let verbatim = field.verbatim.then(|| match field.keeps_blanks() {
            true => "blanks",
            false => "quotes",
        });
        html! {
            div.field.secret data-pointer=(field.pointer) data-kind="secret" data-guide=[field.guide_step]
                data-state=[state] data-title=(field.title) data-prefix=[field.known_prefix.as_ref()] data-verbatim=[verbatim] { (inside) }
        }
    }

    /// An empty input. It never holds a saved secret, and its attributes keep password managers away.
    fn secret_input(&self, field: &Field, frame: &Frame<'_>, can_undo: bool) -> Markup {
        let described = if can_undo {
            format!("{} {}-reason", frame.described, frame.id)
        } else {
            frame.described.clone()
        };
        html! {
            div.row {
                @if field.multiline {
                    textarea.masked id=(frame.id) name=(frame.name) rows="4" required[field.required] spellcheck="false"
                        autocomplete="off" autocapitalize="off" data-secret aria-describedby=(described)
                        aria-invalid=[frame.error.map(|_| "true")] {}
                } @else {
                    input id=(frame.id) name=(frame.name) type="password" required[field.required] spellcheck="false"
                        autocomplete="new-password" autocapitalize="off" data-1p-ignore data-lpignore="true"
                        data-bwignore data-form-type="other" data-secret aria-describedby=(described)
                        aria-invalid=[frame.error.map(|_| "true")];
                }
                button.quiet.reveal type="button" data-reveal aria-controls=(frame.id) aria-pressed="false" hidden {
                    (self.text.secret.show) span.vh { " " (field.title) }
                }
                @if can_undo {
                    input type="hidden" name="replacing" value=(frame.name);
                    button.quiet type="submit" name="keep" value=(frame.name) {
                        (self.text.secret.undo) span.vh { " " (field.title) }
                    }
                }
            }
        }
    }

    fn saved_words(&self, saved: &SavedSecret) -> Markup {
        let own = &self.text.secret;
        html! {
            (own.saved) " " (moment(saved.at))
            @if let Some(by) = &saved.by { " " (fill(&own.by, &[("who", by)])) }
            @if let Some(ending) = &saved.ending { " · " (fill(&own.ends, &[("ending", ending)])) }
        }
    }

    /// The value of the answer, or the default.
    fn value<'a>(&'a self, field: &'a Field, at: At) -> Option<&'a Value> {
        self.own_value(field, at).or(field.default.as_ref())
    }

    fn own_value(&self, field: &Field, at: At) -> Option<&Value> {
        let value = self.answer.pointer(&field.pointer);
        value.filter(|_| at.is_chosen)
    }

    fn frame(&self, field: &Field, at: At) -> Frame<'_> {
        let name = name(&field.pointer, at.branch);
        let id = id(&name);
        let is_at = |pointer: &str| at.is_chosen && pointer == field.pointer;
        // An error of one value of a list is shown at the list.
        let is_inside = |pointer: &str| {
            let rest = pointer.strip_prefix(field.pointer.as_str());
            at.is_chosen && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let error = self.errors.iter().find(|error| is_inside(&error.pointer));
        let notice = self.notices.iter().find(|notice| is_at(&notice.pointer));
        let shown = if at.is_chosen {
            self.answer
        } else {
            &Value::Null
        };
        let address = field.address(shown).map(|url| url.to_string());
        let described = described(
            &id,
            &[
                ("error", error.is_some()),
                ("notice", notice.is_some()),
                ("hint", true),
                ("calls", address.is_some()),
            ],
        );
        Frame {
            name,
            id,
            described,
            address,
            error: error.map(|error| error.message.as_str()),
            notice: notice.map(|notice| notice.message.as_str()),
        }
    }

    fn error_at(&self, pointer: &str) -> Option<&str> {
        let error = self.errors.iter().find(|error| error.pointer == pointer);
        error.map(|error| error.message.as_str())
    }

    fn required(&self, field: &Field) -> Markup {
        html! { @if field.required { " " span.needed { (self.text.field.required) } } }
    }

    fn hint(&self, field: &Field, id: &str) -> Markup {
        self.hint_with(field, id, None)
    }

    fn hint_with(&self, field: &Field, id: &str, more: Option<&str>) -> Markup {
        let own = &self.text.field;
        html! {
            div.hint id={ (id) "-hint" } {
                p {
                    (field.description)
                    @if let Some(example) = &field.placeholder { " " (fill(&own.example, &[("example", example)])) }
                    @if let Some(more) = more { " " (more) }
                }
                @if let Some(help) = &field.help { p { span.where { (own.where_to_find) } " " (help) } }
            }
            @if let Some(step) = field.guide_step {
                a.to-guide href={ "#guide-" (step) } data-guide-link=(step) {
                    (fill(&own.guide_step, &[("step", &step.to_string())])) span.vh { ": " (field.title) }
                }
            }
        }
    }

    fn error_text(&self, id: &str, error: Option<&str>) -> Markup {
        html! {
            @if let Some(error) = error { p.error id={ (id) "-error" } { (icon("bad")) span { (sentence(error)) } } }
        }
    }

    fn notice_text(&self, id: &str, notice: Option<&str>) -> Markup {
        html! {
            @if let Some(notice) = notice { p.notice id={ (id) "-notice" } { (icon("info")) span { (sentence(notice)) } } }
        }
    }
}

/// The common attributes of a control.
struct Frame<'a> {
    name: String,
    id: String,
    /// Ids of the existing texts about it, the error first.
    described: String,
    /// The address of requests, if this field decides it.
    address: Option<String>,
    error: Option<&'a str>,
    notice: Option<&'a str>,
}

fn described(id: &str, parts: &[(&str, bool)]) -> String {
    let there = parts.iter().filter(|(_, is_there)| *is_there);
    let ids: Vec<String> = there.map(|(part, _)| format!("{id}-{part}")).collect();
    ids.join(" ")
}

fn kind_name(kind: &FieldKind) -> &'static str {
    match kind {
        FieldKind::Text => "text",
        FieldKind::Secret => "secret",
        FieldKind::Url => "url",
        FieldKind::Date => "date",
        FieldKind::Integer => "integer",
        FieldKind::Number => "number",
        FieldKind::Boolean => "boolean",
        FieldKind::Choice { .. } => "choice",
        FieldKind::List { .. } => "list",
        FieldKind::Group { .. } => "group",
        FieldKind::OneOf { .. } => "tag",
    }
}

/// A value for people: the titles of choices, yes and no.
pub(crate) fn in_words(kind: &FieldKind, value: &Value, text: &Messages) -> String {
    match (kind, value) {
        (FieldKind::Choice { choices }, _) => {
            let choice = choices.iter().find(|choice| choice.value == *value);
            choice.map_or_else(|| text_of(value), |choice| choice.title.clone())
        }
        (FieldKind::List { of }, Value::Array(values)) => {
            let words: Vec<String> = values
                .iter()
                .map(|value| in_words(of, value, text))
                .collect();
            words.join(", ")
        }
        (_, Value::Bool(true)) => text.field.yes.clone(),
        (_, Value::Bool(false)) => text.field.no.clone(),
        _ => text_of(value),
    }
}
