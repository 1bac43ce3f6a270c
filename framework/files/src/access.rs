//! Who may use the files that a run makes.

use std::{
    env,
    ffi::OsStr,
    io::{self, ErrorKind},
};

/// The variable that gives new files another mode.
const FILE_MODE: &str = "HEADWATER_FILE_MODE";

/// Who may use a new file. The umask takes away from it, as always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(pub(crate) u32);

impl Access {
    /// The owner only, independent of the environment: for secrets.
    pub const OWNER: Self = Self(0o600);

    /// The mode in `HEADWATER_FILE_MODE`, or the owner only: for records and states.
    ///
    /// # Errors
    ///
    /// Fails if the variable is not a file mode that lets the owner read and write.
    pub fn of_records() -> io::Result<Self> {
        env::var_os(FILE_MODE).map_or(Ok(Self::OWNER), |text| Self::parse(&text))
    }

    pub(crate) fn parse(text: &OsStr) -> io::Result<Self> {
        let digits = text
            .to_str()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let mode = digits.and_then(|digits| u32::from_str_radix(digits, 8).ok());
        // The owner writes to the file again, and it is no program.
        let mode = mode.filter(|mode| mode & !0o066 == 0o600);
        mode.map(Self).ok_or_else(|| {
            let text = format!("{FILE_MODE} is not a file mode; write 600, 640 or 660");
            io::Error::new(ErrorKind::InvalidInput, text)
        })
    }

    pub(crate) const fn lets_group_write(self) -> bool {
        self.0 & 0o020 != 0
    }

    /// Users who may read the file may enter the folder that is made for it.
    pub(crate) const fn of_folder(self) -> u32 {
        self.0 | (self.0 & 0o444) >> 2
    }
}
