//! Reads a document: downloads stay open from page to page, and reopen after an interruption.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use headwater_core::{Error, Kind, LONGEST_RECORD, Note, Page, Result, Status};
use headwater_json::{SplitError, SplitRecords, StreamSplitter};

use super::{
    Export, ExportPage, ExportStream, ExportToken, Grace, Route, TRIES, gone, next_run, written,
};
use crate::{client::Download, envelope::taken_as_empty, fingerprints::FingerprintSet};

/// The size of the records in one page, in bytes.
const PAGE: usize = 1 << 20;

/// An open download and its position.
pub(super) struct Live {
    records: u64,
    download: Download,
    splitter: StreamSplitter,
    /// Whether any non-blank byte has arrived.
    has_begun: bool,
    /// The uncut rest of the last piece.
    rest: Bytes,
    /// The memory of the last page, reused after the host drops the page.
    buffer: BytesMut,
}

/// The missing part of a finished job.
#[derive(Clone, Copy, Debug)]
enum MissingResult {
    /// The service has no result.
    Result,
    /// The result is empty.
    Content,
}

impl<E: Export> ExportStream<E> {
    /// Continues to read, over as many downloads as necessary.
    pub(super) async fn read(
        &self,
        order: &E::Order,
        position: ReadingPosition,
    ) -> Result<ExportPage<E::Bookmark>> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.read_page(order, &position).await {
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
        position: &ReadingPosition,
    ) -> Result<ExportPage<E::Bookmark>> {
        let key = written(&(order, &position.job));
        let live = self.live().remove(&key);
        let mut live = match live.filter(|live| live.records == position.records) {
            Some(live) => live,
            None => match self.open(order, position).await? {
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
        if is_over && !live.has_begun && position.records == 0 && position.job.is_some() {
            return self.unready(position, MissingResult::Content);
        }
        if is_over {
            live.splitter.finish().map_err(invalid)?;
        }
        cut.verify().map_err(invalid)?;
        let nulls = match is_over {
            true => self.taken_as_empty(live.splitter.nulls()),
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
                job: position.job.clone(),
                failed: position.failed,
                records,
                last: last.unwrap_or(position.last),
                lacks: position.lacks.clone(),
            };
            return Ok(Page {
                next: Some(next),
                ..page
            });
        }
        match &position.lacks {
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

    /// Returns notes for the streams whose list was null.
    fn taken_as_empty(&self, streams: &[usize]) -> Vec<Note> {
        let specs = std::iter::once(self.export.spec()).chain(self.export.companions());
        let names: Vec<&str> = specs.map(|spec| spec.name).collect();
        let names = streams.iter().filter_map(|stream| names.get(*stream));
        names.map(|name| taken_as_empty(name)).collect()
    }

    /// Opens the download and moves to the position; returns a page if the result does not exist.
    async fn open(
        &self,
        order: &E::Order,
        position: &ReadingPosition,
    ) -> Result<Result<Live, ExportPage<E::Bookmark>>> {
        let request = match (&position.job, self.export.route(order)) {
            (Some(job), _) => self.export.jobs().result(job),
            (None, Route::Direct(request)) => request,
            (None, _) => {
                let text = "the state has a document that the options no longer select";
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
                    true if position.job.is_some() => {
                        self.unready(position, MissingResult::Result).map(Err)
                    }
                    _ => Err(self.export.refusal(order, &request, &response)),
                };
            }
        };
        let mut live = Live {
            records: 0,
            download,
            splitter: StreamSplitter::new(self.export.lists(), &fields, LONGEST_RECORD),
            has_begun: false,
            rest: Bytes::new(),
            buffer: BytesMut::new(),
        };
        if live.skip(position.records, position.last).await? {
            return Ok(Ok(live));
        }
        // The document differs from the delivered records: it is read from the start, without omissions.
        let next = ExportToken::Reading {
            job: position.job.clone(),
            failed: position.failed,
            records: 0,
            last: 0,
            lacks: position.lacks.clone(),
        };
        if self.changes_too_often(order) {
            let text = "a document changed each time it was opened again; the next run reads it from the start";
            return Ok(Err(next_run(next, Error::new(Kind::DataInvalid, text))));
        }
        Ok(Err(Page {
            notes: vec![Note {
                code: "document_changed",
                message:
                    "a document changed between two downloads; it was read from the start again"
                        .to_owned(),
            }],
            next: Some(next),
            ..Page::empty()
        }))
    }

    /// Waits for the result of a finished job, up to the grace period. A result that was read before and is missing is
    /// lost.
    fn unready(
        &self,
        position: &ReadingPosition,
        missing: MissingResult,
    ) -> Result<ExportPage<E::Bookmark>> {
        let (job, failed) = (position.job.clone().unwrap_or_default(), position.failed);
        if position.records > 0 {
            return Ok(self.lost(failed, ExportToken::BEGIN, gone(&job)));
        }
        if let Some((grace, wait)) = position.grace.next() {
            let reason = format!("the result of the export job {job}");
            let next = ExportToken::Unready {
                job,
                failed,
                lacks: position.lacks.clone(),
                grace,
            };
            return Ok(Page::wait(next, wait, reason));
        }
        // The job used quota: the next run requests it once more before it orders another one.
        let retry_token = ExportToken::Reading {
            job: Some(job.clone()),
            failed: 0,
            records: 0,
            last: 0,
            lacks: position.lacks.clone(),
        };
        Ok(match missing {
            MissingResult::Result => self.lost(failed, retry_token, gone(&job)),
            MissingResult::Content => {
                let text = format!("the result of the export job {job} is empty");
                next_run(retry_token, Error::new(Kind::DataInvalid, text))
            }
        })
    }

    /// Returns the page of the cut records and the fingerprint of its last record.
    fn page(
        &self,
        order: &E::Order,
        body: Bytes,
        records: Vec<(usize, Range<usize>)>,
    ) -> Result<(ExportPage<E::Bookmark>, Option<u64>)> {
        let last = records
            .last()
            .map(|(_, span)| FingerprintSet::fingerprint(&body[span.clone()]));
        let companions = self.export.companions();
        let mut spans: Vec<Vec<Range<usize>>> = vec![Vec::new(); 1 + companions.len()];
        if let Some((stream, _)) = records.first() {
            spans[*stream].reserve(records.len());
        }
        for (stream, span) in records {
            self.export.inspect(order, stream, &body[span.clone()])?;
            spans[stream].push(span);
        }
        let mut spans = spans.into_iter();
        let mut page = Page::new(body, spans.next().unwrap_or_default());
        page.companions = companions.iter().map(|spec| spec.name).zip(spans).collect();
        Ok((page, last))
    }
}

/// The fields of [`ExportToken::Reading`] or [`ExportToken::Unready`].
pub(super) struct ReadingPosition {
    pub(super) job: Option<String>,
    pub(super) failed: u32,
    pub(super) records: u64,
    pub(super) last: u64,
    pub(super) lacks: Option<String>,
    /// The polls for the result so far.
    pub(super) grace: Grace,
}

impl Live {
    /// Returns an empty page, in the memory of the last page if it is free.
    fn cut(&mut self) -> SplitRecords {
        let mut body = std::mem::take(&mut self.buffer);
        body.reserve(PAGE + PAGE / 8);
        SplitRecords::within(body)
    }

    /// Cuts one more record or receives one more piece; returns false at the end of the document.
    async fn more(&mut self, cut: &mut SplitRecords) -> Result<bool> {
        if self.rest.is_empty() {
            match self.download.chunk().await? {
                Some(piece) => self.rest = piece,
                None => return Ok(false),
            }
            self.has_begun |= !self.rest.trim_ascii().is_empty();
        }
        let mut taken = 0;
        while taken < self.rest.len() && !cut.is_at_least(PAGE) {
            let (used, _) = self
                .splitter
                .push(&self.rest[taken..], cut)
                .map_err(invalid)?;
            taken += used;
        }
        let _ = self.rest.split_to(taken);
        Ok(true)
    }

    /// Skips delivered records; returns false if they have changed.
    async fn skip(&mut self, records: u64, last: u64) -> Result<bool> {
        let mut found = 0;
        let mut cut = SplitRecords::default();
        while self.records < records {
            if self.rest.is_empty() {
                match self.download.chunk().await? {
                    Some(piece) => self.rest = piece,
                    None => return Ok(false),
                }
            }
            while !self.rest.is_empty() && self.records < records {
                let (used, is_record) =
                    self.splitter.push(&self.rest, &mut cut).map_err(invalid)?;
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

/// The error of a document that cannot be split.
fn invalid(error: SplitError) -> Error {
    let invalid = Error::new(Kind::DataInvalid, format!("the answer {error}"));
    match error.offset() {
        Some(offset) => invalid.with("byte", offset),
        None => invalid,
    }
}
