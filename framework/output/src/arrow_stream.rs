//! Arrow's stream format (IPC) to a writer such as standard output.

use std::io::{self, BufWriter, Write};

use arrow_ipc::writer::StreamWriter;
use arrow_schema::ArrowError;
use headwater_core::{
    Error, Kind, Result, StreamSpec,
    sink::{Delivery, Sink, SinkState, WriteCounts},
};

use crate::arrow::{BATCH, Rows};

/// One stream as Arrow's stream format. It has one schema, so that it cannot hold a second stream.
pub struct ArrowStream<W: Write> {
    /// Until the schema is known.
    writer: Option<W>,
    open: Option<Open<W>>,
}

struct Open<W: Write> {
    stream: &'static str,
    rows: Rows,
    writer: StreamWriter<BufWriter<W>>,
}

impl<W: Write> ArrowStream<W> {
    /// Writes to `writer`.
    pub const fn new(writer: W) -> Self {
        Self {
            writer: Some(writer),
            open: None,
        }
    }
}

impl<W: Write + Send> Sink for ArrowStream<W> {
    fn delivery(&self) -> Delivery {
        Delivery::RecordsFirst
    }

    fn restore(&mut self, streams: &[StreamSpec], _: &dyn SinkState) -> Result<()> {
        let [spec] = streams else {
            let text = "Arrow's stream format has one schema and so takes one stream; name it with --stream, or write \
                        Parquet files";
            return Err(Error::new(Kind::ConfigInvalid, text));
        };
        let rows = Rows::new(spec)?;
        let Some(writer) = self.writer.take() else {
            return Err(Error::new(
                Kind::Unexpected,
                "the Arrow stream has begun already",
            ));
        };
        let mut writer = StreamWriter::try_new_buffered(writer, &rows.schema()).map_err(failed)?;
        writer.flush().map_err(failed)?;
        self.open = Some(Open {
            stream: spec.name,
            rows,
            writer,
        });
        Ok(())
    }

    fn write(
        &mut self,
        stream: &str,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<WriteCounts> {
        let Some(open) = self.open.as_mut().filter(|open| open.stream == stream) else {
            let text = format!("the stream {stream} was not announced to the Arrow stream");
            return Err(Error::new(Kind::Unexpected, text));
        };
        let checked = open.rows.check(records)?;
        let mut counts = WriteCounts::default();
        for record in checked.iter() {
            counts.records += 1;
            counts.overflowed += u64::from(open.rows.push(record)?);
            if open.rows.bytes() >= BATCH {
                open.write_batch()?;
            }
        }
        Ok(counts)
    }

    fn commit(&mut self, _: &mut dyn SinkState) -> Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        open.write_batch()?;
        open.writer.flush().map_err(failed)
    }
}

impl<W: Write> Open<W> {
    fn write_batch(&mut self) -> Result<()> {
        let Some(batch) = self.rows.take()? else {
            return Ok(());
        };
        self.writer.write(&batch).map_err(failed)
    }
}

fn failed(error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, error) if error.kind() == io::ErrorKind::BrokenPipe => {
            Error::new(Kind::Cancelled, "the reader of the records went away")
        }
        ArrowError::IoError(_, error) => Error::new(
            Kind::OutputFailed,
            format!("the records cannot be written: {error}"),
        ),
        other => Error::new(
            Kind::Unexpected,
            "the records do not fit into the Arrow stream",
        )
        .caused_by(other),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{RecordBatch, StringArray, cast::AsArray};
    use arrow_ipc::reader::StreamReader;
    use headwater_host::State;
    use serde_json::json;

    use super::*;

    fn calls() -> StreamSpec {
        StreamSpec {
            name: "calls",
            description: "A call.",
            key: &["id"],
            cursor: None,
            incremental: false,
            schema: || json!({"properties": {"id": {"type": "string"}, "money": {"type": "number"}}}),
        }
    }

    #[test]
    fn the_stream_has_its_schema_at_once_and_a_batch_for_each_commit() {
        let mut written = Vec::new();
        let mut state = State::new("acme");
        let mut sink = ArrowStream::new(&mut written);
        sink.restore(&[calls()], &state).unwrap();
        sink.commit(&mut state).unwrap();
        for record in [r#"{"id":"1","money":572.0}"#, r#"{"id":2}"#] {
            let counts = sink
                .write("calls", &mut [record.as_bytes()].into_iter())
                .unwrap();
            assert_eq!(counts.records, 1);
            sink.commit(&mut state).unwrap();
        }
        drop(sink);
        let reader = StreamReader::try_new(&written[..], None).unwrap();
        assert_eq!(reader.schema().fields().len(), 4);
        let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        assert_eq!(batches.len(), 2);
        let texts = |batch: &RecordBatch, column: &str| {
            let array: &StringArray = batch.column_by_name(column).unwrap().as_string();
            array.iter().next().unwrap().map(str::to_owned)
        };
        assert_eq!(texts(&batches[0], "money").as_deref(), Some("572.0"));
        assert_eq!(
            texts(&batches[1], "_overflow").as_deref(),
            Some(r#"{"id":2}"#)
        );
    }

    #[test]
    fn several_streams_are_refused_before_anything_is_written() {
        let mut written = Vec::new();
        let mut sink = ArrowStream::new(&mut written);
        let users = StreamSpec {
            name: "users",
            ..calls()
        };
        let error = sink
            .restore(&[calls(), users], &State::new("acme"))
            .unwrap_err();
        assert_eq!(error.kind(), Kind::ConfigInvalid);
        assert!(error.to_string().contains("takes one stream"), "{error}");
        drop(sink);
        assert!(written.is_empty());
    }

    #[test]
    fn a_reader_that_goes_away_stops_the_read() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = ArrowStream::new(Gone)
            .restore(&[calls()], &State::new("acme"))
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Cancelled);
    }
}
