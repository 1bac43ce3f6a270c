//! Through a document: downloads that are kept open from page to page, and opened again where they broke off.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use headwater_core::{Error, Kind, Note, Page, Result, Status};

use super::{
    Export, ExportPage, ExportStream, ExportToken, Grace, Route, TRIES, gone, next_run, written,
};
use crate::{
    client::Download,
    cutter::{Cut, Cutter},
    envelope::taken_as_empty,
    fingerprints::FingerprintSet,
};

/// Bytes of records in one page.
const PAGE: usize = 1 << 20;

/// A download that is open, and where it stands.
pub(super) struct Live {
    records: u64,
    download: Download,
    cutter: Cutter,
    /// Whether anything but blanks has arrived.
    has_begun: bool,
    /// Of the last piece, what is not cut yet.
    rest: Bytes,
    /// The memory of the last page, which serves again once the host is done with it.
    buffer: BytesMut,
}

/// What a job that is done lacks.
#[derive(Clone, Copy, Debug)]
enum MissingResult {
    /// The service knows no result.
    Result,
    /// The result has no byte.
    Content,
}

impl<E: Export> ExportStream<E> {
    /// Reads on, over as many downloads as that takes.
    pub(super) async fn read(
        &self,
        order: &E::Order,
        place: ReadingPosition,
    ) -> Result<ExportPage<E::Bookmark>> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.read_page(order, &place).await {
                Err(error)
                    if error.kind() == Kind::Unavailable
                        && error.status() == Status::Temporary
                        && tries < TRIES =>
                {
                    self.export.client().back_off(tries).await;
                }
                read => return read,
            }
        }
    }

    async fn read_page(
        &self,
        order: &E::Order,
        place: &ReadingPosition,
    ) -> Result<ExportPage<E::Bookmark>> {
        let key = written(&(order, &place.job));
        let live = self.live().remove(&key);
        let mut live = match live.filter(|live| live.records == place.records) {
            Some(live) => live,
            None => match self.open(order, place).await? {
                Ok(live) => live,
                Err(page) => return Ok(page),
            },
        };
        let mut cut = live.cut();
        let is_over = loop {
            if cut.is_at_least(PAGE) {
                break false;
            }
            if !live.more(&mut cut).await? {
                break true;
            }
        };
        if is_over && !live.has_begun && place.records == 0 && place.job.is_some() {
            return self.unready(place, MissingResult::Content);
        }
        if is_over {
            live.cutter.finish()?;
        }
        cut.verify()?;
        let nulls = match is_over {
            true => self.taken_as_empty(live.cutter.nulls()),
            false => Vec::new(),
        };
        live.records += cut.records.len() as u64;
        let body = cut.body.split().freeze();
        live.buffer = cut.body;
        let (mut page, last) = self.page(order, body, cut.records)?;
        page.notes.extend(nulls);
        let records = live.records;
        if !is_over {
            self.live().insert(key, live);
            let next = ExportToken::Reading {
                job: place.job.clone(),
                failed: place.failed,
                records,
                last: last.unwrap_or(place.last),
                lacks: place.lacks.clone(),
            };
            return Ok(Page {
                next: Some(next),
                ..page
            });
        }
        match &place.lacks {
            Some(sentence) => Ok(Page {
                companions: page.companions,
                body: page.body,
                records: page.records,
                notes: page.notes,
                ..next_run(
                    ExportToken::BEGIN,
                    Error::new(Kind::DataInvalid, sentence.clone()),
                )
            }),
            None => Ok(Page {
                bookmark: self.export.bookmark(order),
                ..page
            }),
        }
    }

    /// Says of which streams the list was null.
    fn taken_as_empty(&self, streams: &[usize]) -> Vec<Note> {
        let specs = std::iter::once(self.export.spec()).chain(self.export.companions());
        let names: Vec<&str> = specs.map(|spec| spec.name).collect();
        let names = streams.iter().filter_map(|stream| names.get(*stream));
        names.map(|name| taken_as_empty(name)).collect()
    }

    /// Opens the download and goes to the place; a page where there is no such result.
    async fn open(
        &self,
        order: &E::Order,
        place: &ReadingPosition,
    ) -> Result<Result<Live, ExportPage<E::Bookmark>>> {
        let request = match (&place.job, self.export.route(order)) {
            (Some(job), _) => self.export.jobs().result(job),
            (None, Route::Direct(request)) => request,
            (None, _) => {
                let text = "the state has a document that the options do not give any more";
                return Err(Error::new(Kind::ConfigInvalid, text));
            }
        };
        let client = self.export.client();
        let fields: Vec<Option<String>> = (0..=self.export.companions().len())
            .map(|stream| self.export.field(order, stream))
            .collect();
        let download = match client.download(&request).await? {
            Ok(download) => download,
            Err(response) => {
                return match self.export.jobs().is_gone(&response) {
                    true if place.job.is_some() => {
                        self.unready(place, MissingResult::Result).map(Err)
                    }
                    _ => Err(self.export.refusal(order, &request, &response)),
                };
            }
        };
        let mut live = Live {
            records: 0,
            download,
            cutter: Cutter::new(self.export.lists(), &fields),
            has_begun: false,
            rest: Bytes::new(),
            buffer: BytesMut::new(),
        };
        if live.skip(place.records, place.last).await? {
            return Ok(Ok(live));
        }
        // What was handed over is not what stands there now: everything comes again, nothing is left out.
        let next = ExportToken::Reading {
            job: place.job.clone(),
            failed: place.failed,
            records: 0,
            last: 0,
            lacks: place.lacks.clone(),
        };
        if self.changes_too_often(order) {
            let text = "a document was another one each time it was opened again; the next read begins it anew";
            return Ok(Err(next_run(next, Error::new(Kind::DataInvalid, text))));
        }
        Ok(Err(Page {
            notes: vec![Note {
                code: "document_changed",
                message:
                    "a document changed between two reads of it; it was read from its start again"
                        .to_owned(),
            }],
            next: Some(next),
            ..Page::empty()
        }))
    }

    /// Waits for the result of a job that is done, as long as the service may take to show it. One that was read from
    /// before is gone.
    fn unready(
        &self,
        place: &ReadingPosition,
        missing: MissingResult,
    ) -> Result<ExportPage<E::Bookmark>> {
        let (job, failed) = (place.job.clone().unwrap_or_default(), place.failed);
        if place.records > 0 {
            return Ok(self.lost(failed, ExportToken::BEGIN, gone(&job)));
        }
        if let Some((grace, wait)) = place.grace.next() {
            let reason = format!("the result of the export job {job}");
            let next = ExportToken::Unready {
                job,
                failed,
                lacks: place.lacks.clone(),
                grace,
            };
            return Ok(Page::wait(next, wait, reason));
        }
        // It was paid for: the next run asks for it once more before it orders another one.
        let kept = ExportToken::Reading {
            job: Some(job.clone()),
            failed: 0,
            records: 0,
            last: 0,
            lacks: place.lacks.clone(),
        };
        Ok(match missing {
            MissingResult::Result => self.lost(failed, kept, gone(&job)),
            MissingResult::Content => {
                let text = format!("the result of the export job {job} is empty");
                next_run(kept, Error::new(Kind::DataInvalid, text))
            }
        })
    }

    /// The page of what was cut, and the fingerprint of its last record.
    fn page(
        &self,
        order: &E::Order,
        body: Bytes,
        records: Vec<(usize, Range<usize>)>,
    ) -> Result<(ExportPage<E::Bookmark>, Option<u64>)> {
        let last = records
            .last()
            .map(|(_, place)| FingerprintSet::fingerprint(&body[place.clone()]));
        let companions = self.export.companions();
        let mut places: Vec<Vec<Range<usize>>> = vec![Vec::new(); 1 + companions.len()];
        if let Some((stream, _)) = records.first() {
            places[*stream].reserve(records.len());
        }
        for (stream, place) in records {
            self.export.inspect(order, stream, &body[place.clone()])?;
            places[stream].push(place);
        }
        let mut places = places.into_iter();
        let mut page = Page::new(body, places.next().unwrap_or_default());
        page.companions = companions
            .iter()
            .map(|spec| spec.name)
            .zip(places)
            .collect();
        Ok((page, last))
    }
}

/// [`ExportToken::Reading`] or [`ExportToken::Unready`], taken apart.
pub(super) struct ReadingPosition {
    pub(super) job: Option<String>,
    pub(super) failed: u32,
    pub(super) records: u64,
    pub(super) last: u64,
    pub(super) lacks: Option<String>,
    /// How long the result was asked for.
    pub(super) grace: Grace,
}

impl Live {
    /// An empty page, in the memory of the last one where that is free again.
    fn cut(&mut self) -> Cut {
        let mut body = std::mem::take(&mut self.buffer);
        body.reserve(PAGE + PAGE / 8);
        Cut::within(body)
    }

    /// Cuts one more record or takes one more piece; false at the end of the document.
    async fn more(&mut self, cut: &mut Cut) -> Result<bool> {
        if self.rest.is_empty() {
            match self.download.chunk().await? {
                Some(piece) => self.rest = piece,
                None => return Ok(false),
            }
            self.has_begun |= !self.rest.trim_ascii().is_empty();
        }
        let mut taken = 0;
        while taken < self.rest.len() && !cut.is_at_least(PAGE) {
            let (used, _) = self.cutter.push(&self.rest[taken..], cut)?;
            taken += used;
        }
        let _ = self.rest.split_to(taken);
        Ok(true)
    }

    /// Goes over records that were handed over before; false when they are not the same any more.
    async fn skip(&mut self, records: u64, last: u64) -> Result<bool> {
        let mut found = 0;
        let mut cut = Cut::default();
        while self.records < records {
            if self.rest.is_empty() {
                match self.download.chunk().await? {
                    Some(piece) => self.rest = piece,
                    None => return Ok(false),
                }
            }
            while !self.rest.is_empty() && self.records < records {
                let (used, is_record) = self.cutter.push(&self.rest, &mut cut)?;
                let _ = self.rest.split_to(used);
                if is_record {
                    self.records += 1;
                    if self.records == records {
                        found = FingerprintSet::fingerprint(&cut.body);
                    }
                    cut.clear();
                }
            }
        }
        Ok(records == 0 || found == last)
    }
}
