//! The commit manifest: the one document that says which files count, and how far reading got with them.

use headwater_core::{Error, Kind, Result, sink::SinkState};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The version of the document's layout.
const FORMAT: u32 = 1;
/// A state of the largest size and a million files.
const LARGEST: u64 = 256 << 20;
const MANIFEST: &str = "manifest-";
const PART: &str = "part-";

/// What counts. Each commit writes a new one with the next number.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    headwater_manifest: u32,
    pub sequence: u64,
    /// How many runs have taken hold of the place.
    pub epoch: u32,
    /// The run that wrote this.
    pub run: String,
    pub connector: String,
    pub connection: String,
    /// In the order in which they were written, for each stream.
    pub files: Vec<CountedFile>,
    pub state: Box<RawValue>,
}

/// A file that counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CountedFile {
    pub stream: String,
    /// From the place's root, with a slash.
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
    /// The same as long as the columns are.
    pub schema: String,
}

impl Manifest {
    /// The manifest before the first one, which counts no files.
    pub fn before_the_first(empty: &dyn SinkState, connection: &str) -> Result<Self> {
        Ok(Self {
            headwater_manifest: FORMAT,
            sequence: 0,
            epoch: 0,
            run: String::new(),
            connector: empty.connector().to_owned(),
            connection: connection.to_owned(),
            files: Vec::new(),
            state: written(empty)?,
        })
    }

    /// Reads a manifest. `place` is for people, `bytes` its content.
    pub fn parse(bytes: &[u8], place: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            headwater_manifest: Option<u32>,
        }
        // Asked first, so that a newer layout is named as such and not as damage.
        let format = serde_json::from_slice(bytes).map(|format: Format| format.headwater_manifest);
        match format {
            Ok(Some(FORMAT)) => {}
            Ok(Some(newer)) if newer > FORMAT => {
                let what =
                    format!("was written by a newer version (format {newer}); use that version");
                return Err(invalid(place, &what));
            }
            Ok(_) => {
                return Err(invalid(
                    place,
                    "is not a manifest of headwater; choose another folder",
                ));
            }
            Err(_) => return Err(damaged(place)),
        }
        serde_json::from_slice(bytes).map_err(|_| damaged(place))
    }

    /// Refuses a manifest that is too large to be read.
    pub fn check_size(bytes: u64, place: &str) -> Result<()> {
        if bytes > LARGEST {
            return Err(invalid(
                place,
                "is far too large for a manifest; choose another folder",
            ));
        }
        Ok(())
    }

    /// Refuses what another connector or connection wrote.
    pub fn check_owner(&self, connector: &str, connection: &str, place: &str) -> Result<()> {
        for (what, theirs, ours) in [
            ("connector", &self.connector, connector),
            ("connection", &self.connection, connection),
        ] {
            if theirs != ours {
                let text = format!(
                    "belongs to the {what} {theirs:?}, not to {ours:?}; choose another folder"
                );
                return Err(invalid(place, &text));
            }
        }
        Ok(())
    }

    /// Reads the state that was committed with the files.
    pub fn read_state(&self, state: &mut dyn SinkState, place: &str) -> Result<()> {
        let place = format!("the state in {place}");
        state.read_json(self.state.get().as_bytes(), &place)
    }

    /// The next one: more files, another state.
    pub fn next(&self, files: Vec<CountedFile>, state: Box<RawValue>) -> Self {
        let mut next = self.clone();
        next.sequence = next.sequence.saturating_add(1);
        next.files.extend(files);
        next.state = state;
        next
    }

    /// The manifest as it is kept.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec(self).map_err(|error| {
            Error::new(Kind::Unexpected, "the manifest does not serialise").caused_by(error)
        })?;
        text.push(b'\n');
        Ok(text)
    }
}

/// A state as it is written in a manifest.
pub(crate) fn written(state: &dyn SinkState) -> Result<Box<RawValue>> {
    serde_json::from_slice(&state.to_json()?).map_err(|error| {
        Error::new(
            Kind::Unexpected,
            "the state is written as something else than JSON",
        )
        .caused_by(error)
    })
}

/// The file of a manifest. Names sort as numbers do.
pub(crate) fn manifest_name(sequence: u64) -> String {
    format!("{MANIFEST}{sequence:020}.json")
}

/// The number of a manifest, from the name of its file.
pub(crate) fn manifest_sequence(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(MANIFEST)?.strip_suffix(".json")?;
    let sequence = digits.parse().ok()?;
    (manifest_name(sequence) == name).then_some(sequence)
}

/// The name of a file of rows. Later runs and later files of a run sort after earlier ones.
pub(crate) fn part_name(run: &str, number: u32) -> String {
    format!("{PART}{run}-{number:06}.parquet")
}

/// The name of a run: how many there were, and what tells it from another that counts the same.
pub(crate) fn run_name(epoch: u32, random: u32) -> String {
    format!("{epoch:08}-{random:08x}")
}

/// Whether a file name is one that [`part_name`] makes.
pub(crate) fn is_part(name: &str) -> bool {
    let Some(inside) = name
        .strip_prefix(PART)
        .and_then(|rest| rest.strip_suffix(".parquet"))
    else {
        return false;
    };
    let is_number = |text: &str, digits: usize| {
        text.len() >= digits && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut pieces = inside.split('-');
    let (epoch, random, number) = (pieces.next(), pieces.next(), pieces.next());
    pieces.next().is_none()
        && epoch.is_some_and(|text| is_number(text, 8))
        && random.is_some_and(|text| {
            text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
        && number.is_some_and(|text| is_number(text, 6))
}

fn damaged(place: &str) -> Error {
    invalid(
        place,
        "is damaged; put it back from a copy, or delete it to go back to the manifest before it: what only it counts \
         is read again then",
    )
}

fn invalid(place: &str, what: &str) -> Error {
    Error::new(Kind::ConfigInvalid, format!("the manifest {place} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_given_are_taken_for_ours() {
        let name = part_name(&run_name(3, 0x00ab_cdef), 12);
        assert_eq!(name, "part-00000003-00abcdef-000012.parquet");
        assert!(is_part(&name));
        assert!(is_part(&part_name(&run_name(123_456_789, 1), 12_345_678)));
        for other in [
            "part-0.parquet",
            "part-00000-6a8f3a0c-c000.snappy.parquet",
            "part-00000003-00abcdef-000012.parquet.crc",
            "part-00000003-00abcdef-000012-1.parquet",
            "part-00000003-000012.parquet",
        ] {
            assert!(!is_part(other), "{other}");
        }
        assert_eq!(manifest_sequence(&manifest_name(7)), Some(7));
        assert_eq!(manifest_sequence("manifest-7.json"), None);
        assert_eq!(
            manifest_sequence("manifest-00000000000000000007.json.tmp"),
            None
        );
    }
}
