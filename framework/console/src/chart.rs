//! Records and waits of a run over time, as a small picture.

use std::fmt::Write;

use maud::{Markup, html};

use crate::{
    messages::{Messages, fill},
    parts::duration,
};

const WIDTH: f64 = 720.0;
const RECORDS: f64 = 120.0;
const GAP: f64 = 16.0;
const WAITS: f64 = 32.0;

/// The progress of a run at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Seconds since it began.
    pub second: f64,
    /// Records written so far.
    pub records: u64,
    /// Seconds that requests have waited for the service's limit so far.
    pub wait_seconds: f64,
}

/// A line for the records and, below it, a bar for each stretch with waits. A caption repeats both in words.
pub(crate) fn chart(samples: &[Sample], text: &Messages) -> Markup {
    let own = &text.run;
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return html! {};
    };
    let span = (last.second - first.second).max(0.001);
    let x = |second: f64| (second - first.second) / span * WIDTH;
    let max = samples
        .iter()
        .map(|sample| sample.records)
        .max()
        .unwrap_or(0)
        .max(1) as f64;
    let mut line = String::new();
    for sample in samples {
        let y = RECORDS - sample.records as f64 / max * (RECORDS - 4.0);
        // Writing to a text does not fail.
        let _ = write!(line, "{:.1},{y:.1} ", x(sample.second));
    }
    let area = format!("0,{RECORDS} {line}{WIDTH},{RECORDS}");
    let waits: Vec<(f64, f64, f64)> = samples
        .windows(2)
        .filter_map(|pair| {
            let waited = pair[1].wait_seconds - pair[0].wait_seconds;
            let took = pair[1].second - pair[0].second;
            let share = (waited / took.max(0.001)).clamp(0.0, 1.0);
            (share > 0.0).then(|| (x(pair[0].second), x(pair[1].second), share * WAITS))
        })
        .collect();
    let waited = last.wait_seconds - first.wait_seconds;
    let (records, time) = (text.whole(last.records), duration(span));
    let mut words = fill(&own.chart_words, &[("records", &records), ("time", &time)]);
    if waited > 0.0 {
        words.push(' ');
        words.push_str(&fill(&own.chart_waited, &[("waited", &duration(waited))]));
    }
    let bottom = RECORDS + GAP + WAITS;
    html! {
        figure.chart {
            svg viewBox={ "0 0 " (WIDTH) " " (bottom) } role="img" aria-label=(words) preserveAspectRatio="none" {
                line.axis x1="0" x2=(WIDTH) y1=(RECORDS) y2=(RECORDS) {}
                polygon.area points=(area) {}
                polyline.line points=(line.trim_end()) vector-effect="non-scaling-stroke" {}
                line.axis x1="0" x2=(WIDTH) y1=(bottom) y2=(bottom) {}
                @for (from, to, height) in waits {
                    rect.wait x=(format!("{from:.1}")) y=(format!("{:.1}", bottom - height))
                        width=(format!("{:.1}", (to - from).max(1.0))) height=(format!("{height:.1}")) {}
                }
            }
            figcaption {
                span.key-records { (own.chart_records) } " "
                span.key-waits { (own.chart_waits) } " "
                span.words { (words) }
            }
        }
    }
}
