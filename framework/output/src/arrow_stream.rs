//! Arrow's stream format (IPC) to a writer such as standard output.

use std::io::{self, Write};

use arrow_ipc::writer::StreamWriter;
use arrow_schema::ArrowError;
use headwater_core::{Error, Kind, Result, StreamSpec};
use headwater_host::{Delivery, Sink, State, Written};

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
    writer: StreamWriter<W>,
}

impl<W: Write> ArrowStream<W> {
    /// Writes to `writer`.
    pub const fn new(writer: W) -> Self {
        Self { writer: Some(writer), open: None }
    }
}

impl<W: Write + Send> Sink for ArrowStream<W> {
    fn delivery(&self) -> Delivery {
        Delivery::RecordsFirst
    }

    fn restore(&mut self, streams: &[StreamSpec], _: &State) -> Result<()> {
        let [spec] = streams else {
            let text = "Arrow's stream format has one schema and so takes one stream; name it with --stream, or write \
                        Parquet files";
            return Err(Error::new(Kind::ConfigInvalid, text));
        };
        let rows = Rows::new(spec)?;
        let Some(writer) = self.writer.take() else {
            return Err(Error::new(Kind::Unexpected, "the Arrow stream has begun already"));
        };
        let mut writer = StreamWriter::try_new(writer, &rows.schema()).map_err(failed)?;
        writer.flush().map_err(failed)?;
        self.open = Some(Open { stream: spec.name, rows, writer });
        Ok(())
    }

    fn write(&mut self, stream: &str, records: &mut dyn Iterator<Item = &[u8]>) -> Result<Written> {
        let Some(open) = self.open.as_mut().filter(|open| open.stream == stream) else {
            let text = format!("the stream {stream} was not announced to the Arrow stream");
            return Err(Error::new(Kind::Unexpected, text));
        };
        let checked = open.rows.check(records)?;
        let mut counts = Written::default();
        for record in checked.iter() {
            counts.records += 1;
            counts.overflowed += u64::from(open.rows.push(record)?);
            if open.rows.bytes() >= BATCH {
                open.write_batch()?;
            }
        }
        Ok(counts)
    }

    fn commit(&mut self, _: &mut State) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.write_batch()?;
        open.writer.flush().map_err(failed)
    }
}

impl<W: Write> Open<W> {
    fn write_batch(&mut self) -> Result<()> {
        let Some(batch) = self.rows.take()? else { return Ok(()) };
        self.writer.write(&batch).map_err(failed)
    }
}

fn failed(error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, error) if error.kind() == io::ErrorKind::BrokenPipe => {
            Error::new(Kind::Cancelled, "the reader of the records went away")
        }
        ArrowError::IoError(_, error) => {
            Error::new(Kind::OutputFailed, format!("the records cannot be written: {error}"))
        }
        other => Error::new(Kind::Unexpected, "the records do not fit into the Arrow stream").caused_by(other),
    }
}
