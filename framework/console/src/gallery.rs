//! The gallery of sources, the saved credentials of one source, and all saved credentials.

use headwater_core::Timestamp;
use maud::{Markup, html};

use crate::{
    credential::Source,
    expiry::Expiry,
    messages::{Messages, fill},
    page::{Page, Section},
    parts::{Status, about, icon, logo, moment, status_badge},
};

/// A source of the gallery.
#[derive(Clone, Debug)]
pub struct SourceTile {
    /// The source.
    pub source: Source,
    /// Number of saved connections.
    pub connections: usize,
    /// Number of them that need attention.
    pub attention: usize,
    /// Number of them that expire soon.
    pub expiring: usize,
}

/// All sources, or the matches of a search.
#[derive(Clone, Debug)]
pub struct Gallery {
    /// The sources.
    pub tiles: Vec<SourceTile>,
    /// The search text.
    pub query: String,
}

/// A saved credential as a tile.
#[derive(Clone, Debug)]
pub struct Tile {
    /// The connection's name.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Its description.
    pub description: String,
    /// The connector's id.
    pub source_id: String,
    /// The product's name.
    pub source_name: String,
    /// Its status.
    pub status: Status,
    /// The expiry of its secrets, if it is near.
    pub expiry: Option<Expiry>,
    /// The time of its last probe.
    pub checked_at: Option<Timestamp>,
    /// The person who saved it.
    pub owner: Option<String>,
    /// Number of syncs that use it.
    pub used_by: usize,
}

/// The step that chooses a saved credential or adds a new one.
#[derive(Clone, Debug)]
pub struct Authenticate {
    /// The source.
    pub source: Source,
    /// Its saved credentials.
    pub tiles: Vec<Tile>,
    /// The name of the selected one.
    pub selected: Option<String>,
    /// The name of the one that was just added.
    pub added: Option<String>,
}

/// The list of all saved credentials.
#[derive(Clone, Debug)]
pub struct ConnectionList {
    /// The matching credentials.
    pub tiles: Vec<Tile>,
    /// The search text.
    pub query: String,
    /// The status filter.
    pub status: Option<Status>,
    /// The address of the next page.
    pub next: Option<String>,
    /// Numbers of credentials that were just tested again, and of the working ones among them.
    pub retested: Option<(usize, usize)>,
}

/// The gallery of sources.
pub fn gallery(view: &Gallery, text: &Messages) -> Page {
    let own = &text.gallery;
    let main = html! {
        header.page-top {
            div { h1 { (own.title) } p.lead-text { (own.lead) } }
            (search("/", &view.query, &own.search, text))
        }
        @if view.tiles.is_empty() { (nothing(&own.none)) }
        ul.tiles data-filter-list {
            @for tile in &view.tiles {
                li data-filter-text={ (tile.source.name) " " (tile.source.summary) } {
                    a.tile href={ "/sources/" (tile.source.id) } {
                        (logo(&tile.source.id, &tile.source.name))
                        span.tile-text {
                            span.tile-title { (tile.source.name) }
                            span.tile-summary { (tile.source.summary) }
                            span.tile-meta {
                                @if tile.connections > 0 { (own.saved.count(tile.connections)) }
                                @else { (own.not_connected) }
                                @if tile.attention > 0 {
                                    span.attention { (icon("warn")) (own.attention.count(tile.attention)) }
                                }
                                @if tile.expiring > 0 {
                                    span.attention { (icon("warn")) (own.expiring.count(tile.expiring)) }
                                }
                            }
                        }
                    }
                }
            }
        }
        p.nothing data-filter-none hidden { (own.none) }
    };
    Page {
        title: own.title.clone(),
        section: Section::Sources,
        main,
    }
}

/// The saved credentials of a source, with a link to a new one.
pub fn authenticate(view: &Authenticate, text: &Messages) -> Page {
    let own = &text.authenticate;
    let path = format!("/sources/{}", view.source.id);
    let title = fill(&own.title, &[("source", &view.source.name)]);
    let main = html! {
        nav.crumbs aria-label=(text.page.crumbs) { a href="/" { (text.page.sources) } " / " span aria-current="page" { (view.source.name) } }
        header.page-top {
            div.with-logo {
                (logo(&view.source.id, &view.source.name))
                div { h1 { (title) } p.lead-text { (view.source.summary) } }
            }
            @if view.tiles.len() > 8 { (search(&path, "", &own.search, text)) }
        }
        @if let Some(added) = view.added.as_ref().and_then(|name| view.tiles.iter().find(|tile| tile.name == *name)) {
            p.done role="status" { (icon("good")) span {
                    (about(&own.added, &added.title))
                    @if view.tiles.iter().any(|tile| tile.title == added.title && tile.name != added.name) { " " (own.same_title) }
                }
            }
        }
        form.authenticate method="post" action=(path) {
            fieldset {
                legend { (own.legend) }
                div.tiles data-filter-list {
                    @for tile in &view.tiles { (radio_tile(tile, view.selected.as_ref() == Some(&tile.name), text)) }
                    a.tile.add href={ (path) "/add" } data-dialog {
                        span.logo.plus aria-hidden="true" { (icon("plus")) }
                        span.tile-text {
                            span.tile-title { (own.add) }
                            span.tile-summary { (fill(&own.add_text, &[("source", &view.source.name)])) }
                        }
                    }
                }
                p.nothing data-filter-none hidden { (own.none) }
            }
            @if !view.tiles.is_empty() {
                p.after { button.primary type="submit" name="action" value="continue" { (own.go_on) } }
            }
        }
    };
    Page {
        title,
        section: Section::Sources,
        main,
    }
}

fn radio_tile(tile: &Tile, is_selected: bool, text: &Messages) -> Markup {
    let own = &text.authenticate;
    html! {
        div.tile.choice data-filter-text={ (tile.title) " " (tile.description) " " (tile.name) } {
            label {
                input type="radio" name="connection" value=(tile.name) checked[is_selected] required;
                (tile_text(tile, text))
            }
            p.tile-links {
                @if tile.status == Status::NeedsAttention {
                    a href={ "/connections/" (tile.name) "/edit?repair=1" } data-dialog { (own.fix) span.vh { " " bdi { (tile.title) } } } " "
                }
                @if tile.status == Status::Unreadable {
                    a href={ "/connections/" (tile.name) "/edit" } data-dialog { (own.fix) span.vh { " " bdi { (tile.title) } } } " "
                }
                @if tile.status == Status::Expiring {
                    a href={ "/connections/" (tile.name) "/rotate" } data-dialog { (text.connection.rotate) span.vh { " " bdi { (tile.title) } } } " "
                }
                a href={ "/connections/" (tile.name) } { (own.details) span.vh { ": " bdi { (tile.title) } } }
            }
        }
    }
}

fn tile_text(tile: &Tile, text: &Messages) -> Markup {
    let own = &text.authenticate;
    html! {
        span.tile-text {
            span.tile-title dir="auto" { (tile.title) }
            @if !tile.description.is_empty() { span.tile-summary dir="auto" { (tile.description) } }
            span.tile-status {
                (status_badge(tile.status, text))
                @if let Some(at) = tile.checked_at { " " span { (own.checked) " " (moment(at)) } }
            }
            @if let Some(expiry) = tile.expiry { span.tile-summary { (expiry.sentence(text)) } }
            span.tile-meta {
                @if let Some(owner) = &tile.owner { span { (fill(&own.owner, &[("who", owner)])) } }
                @if tile.used_by > 0 { span { (own.used_by.count(tile.used_by)) } }
            }
        }
    }
}

/// All saved credentials.
pub fn connections(view: &ConnectionList, text: &Messages) -> Page {
    let own = &text.connections;
    let main = html! {
        header.page-top {
            div { h1 { (own.title) } p.lead-text { (own.lead) } }
            a.button.primary href="/" { (icon("plus")) (own.add) }
        }
        form.filters method="get" action="/connections" role="search" {
            div {
                label for="q" { (own.search) }
                input #q type="search" name="q" value=(view.query) data-search data-filter autocomplete="off";
            }
            div {
                label for="status" { (own.status) }
                select #status name="status" {
                    option value="" selected[view.status.is_none()] { (own.any) }
                    @for status in Status::ALL {
                        option value=(status.name()) selected[view.status == Some(status)] { (status.label(text)) }
                    }
                }
            }
            button type="submit" { (own.apply) }
        }
        @if let Some((tested, working)) = view.retested {
            p.done role="status" {
                (icon("info"))
                span { (fill(&own.retested, &[("tested", &tested.to_string()), ("working", &working.to_string())])) }
            }
        }
        @if view.tiles.iter().any(|tile| tile.status == Status::NeedsAttention) {
            form method="post" action="/connections" {
                button type="submit" name="action" value="retest" { (own.retest) }
            }
        }
        @if view.tiles.is_empty() { (nothing(&own.none)) }
        ul.tiles data-filter-list {
            @for tile in &view.tiles {
                li data-filter-text={ (tile.title) " " (tile.description) " " (tile.source_name) " " (tile.name) } {
                    a.tile href={ "/connections/" (tile.name) } {
                        (logo(&tile.source_id, &tile.source_name))
                        (tile_text(tile, text))
                    }
                }
            }
        }
        p.nothing data-filter-none hidden { (own.none) }
        @if let Some(next) = &view.next { p.after { a.button href=(next) rel="next" { (own.more) } } }
    };
    Page {
        title: own.title.clone(),
        section: Section::Connections,
        main,
    }
}

fn search(path: &str, query: &str, label: &str, text: &Messages) -> Markup {
    html! {
        form.search method="get" action=(path) role="search" {
            label.vh for="q" { (label) }
            input #q type="search" name="q" value=(query) placeholder=(label) data-search data-filter autocomplete="off";
            button.quiet type="submit" { (text.gallery.search_go) }
        }
    }
}

pub(crate) fn nothing(sentence: &str) -> Markup {
    html! { p.nothing { (sentence) } }
}
