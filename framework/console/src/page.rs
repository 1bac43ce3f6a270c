//! The frame around the content of every page: head, navigation, theme.

use headwater_core::fnv1a;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{messages::Messages, parts::icon};

/// The path of the stylesheet.
pub const STYLE_PATH: &str = "/assets/console.css";
/// The path of the script.
pub const SCRIPT_PATH: &str = "/assets/console.js";
/// The one stylesheet.
pub const STYLE: &str = include_str!("../assets/console.css");
/// The one script.
pub const SCRIPT: &str = include_str!("../assets/console.js");

/// The path of the script with which another page opens a form in a frame.
pub const EMBED_SCRIPT_PATH: &str = "/embed.js";
/// The script with which another page opens a form in a frame.
pub const EMBED_SCRIPT: &str = include_str!("../assets/embed.js");

/// A drop, so that browsers do not request an icon.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Cpath \
                    fill='%230b6e8a' d='M16 3c6 7 10 12 10 17a10 10 0 0 1-20 0c0-5 4-10 10-17z'/%3E%3C/svg%3E";

/// Light, dark, or the setting of the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// The setting of the system.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// The theme of this name in a cookie or a form; the system's for an unknown name.
    pub fn named(name: &str) -> Self {
        match name {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::System,
        }
    }

    /// The name in the cookie.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// The part of the console that a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Sources and adding credentials.
    Sources,
    /// Saved connections.
    Connections,
    /// Runs.
    Runs,
    /// Problems.
    None,
    /// The login, without navigation.
    Login,
}

/// The viewer of a page and their theme.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// The chosen theme.
    pub theme: Theme,
    /// The user who is logged in; `None` if no login is needed.
    pub user: Option<String>,
    /// The path of this page, to return to.
    pub path: String,
}

/// A page without its frame.
#[derive(Clone, Debug)]
pub struct Page {
    /// The title of the window.
    pub title: String,
    /// Its section.
    pub section: Section,
    /// The content.
    pub main: Markup,
}

impl Page {
    /// The content alone, for the script.
    pub fn fragment(self) -> String {
        self.main.into_string()
    }

    /// The whole document.
    pub fn document(&self, frame: &Frame, text: &Messages) -> String {
        let own = &text.page;
        let theme = (frame.theme != Theme::System).then(|| frame.theme.name());
        html! {
            (DOCTYPE)
            html lang=(own.lang) dir=(own.dir) data-theme=[theme] {
                (head(&self.title, text))
                body {
                    a.skip href="#main" { (own.skip) }
                    header.top {
                        a.brand href="/" { (icon("drop")) (own.name) }
                        @if self.section != Section::Login { (self.navigation(text)) }
                        @if let Some(user) = &frame.user {
                            p.user { span.vh { (own.signed_in_as) " " } (user) }
                            form method="post" action="/logout" { button.quiet type="submit" { (own.sign_out) } }
                        }
                        (themes(frame, text))
                    }
                    main #main tabindex="-1" { (self.main) }
                    footer.bottom {
                        @if self.section != Section::Login { p { a href="/author" { (own.author) } } }
                        details #keys {
                            summary { (own.keys) }
                            dl {
                                div { dt { kbd { "/" } } dd { (own.key_search) } }
                                div { dt { kbd { "?" } } dd { (own.key_help) } }
                                div { dt { kbd { "Ctrl" } " " kbd { "Enter" } } dd { (own.key_save) } }
                                div { dt { kbd { "Ctrl" } " " kbd { "Shift" } " " kbd { "T" } } dd { (own.key_test) } }
                                div { dt { kbd { "Esc" } } dd { (own.key_close) } }
                            }
                        }
                    }
                    (icons())
                }
            }
        }
        .into_string()
    }

    fn navigation(&self, text: &Messages) -> Markup {
        let own = &text.page;
        let links = [
            (Section::Sources, "/", &own.sources),
            (Section::Connections, "/connections", &own.connections),
            (Section::Runs, "/syncs", &own.runs),
        ];
        html! {
            nav.sections aria-label=(own.navigation) {
                @for (section, path, label) in links {
                    a href=(path) aria-current=[(section == self.section).then_some("page")] { (label) }
                }
            }
        }
    }
}

/// The head of every document.
pub(crate) fn head(title: &str, text: &Messages) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="referrer" content="same-origin";
            meta name="texts" content=(text.for_script());
            title { (title) " – " (text.page.name) }
            link rel="icon" href=(PreEscaped(ICON));
            link rel="stylesheet" href=(versioned(STYLE_PATH, STYLE));
            script src=(versioned(SCRIPT_PATH, SCRIPT)) defer {}
        }
    }
}

/// Icons that the script copies.
pub(crate) fn icons() -> Markup {
    html! {
        template #icons {
            @for name in ["good", "warn", "bad", "idle", "busy", "info"] { (icon(name)) }
        }
    }
}

/// The address of an asset with a fingerprint (FNV-1a) of its content, so that browsers may keep it for ever.
fn versioned(path: &str, content: &str) -> String {
    format!("{path}?{:016x}", fnv1a(content.as_bytes()))
}

fn themes(frame: &Frame, text: &Messages) -> Markup {
    let own = &text.page;
    let themes = [
        (Theme::System, &own.theme_system),
        (Theme::Light, &own.theme_light),
        (Theme::Dark, &own.theme_dark),
    ];
    html! {
        form.theme method="post" action="/theme" {
            input type="hidden" name="back" value=(frame.path);
            label.vh for="theme" { (own.theme) }
            select #theme name="theme" {
                @for (theme, label) in themes {
                    option value=(theme.name()) selected[theme == frame.theme] { (label) }
                }
            }
            button.quiet type="submit" { (own.theme_apply) }
        }
    }
}
