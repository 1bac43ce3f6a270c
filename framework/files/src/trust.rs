//! Which files are obeyed. A config, a key, a state or a store decides where secrets and records go, so only the user of
//! this process and root may change it.

use std::{
    env,
    fs::{self, Metadata},
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::process::{Gid, getegid, geteuid, getgroups};

use crate::access::Access;

/// The variable that names more users whose files are obeyed, by number, or all of them.
const TRUSTED_USERS: &str = "HEADWATER_TRUSTED_USERS";
const ALL_USERS: &str = "all";
const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;
const STICKY: u32 = 0o1000;

/// Refuses a file or folder that belongs to another user than this one, root and those in `HEADWATER_TRUSTED_USERS`, or
/// that others may write to. `HEADWATER_FILE_MODE=660` trusts the groups of this process.
///
/// # Errors
///
/// Fails if another user owns it or may write to it.
pub fn refuse_untrusted(path: &Path, about: &Metadata) -> io::Result<()> {
    refuse_foreign(path, about)?;
    refuse_writable(path, about)
}

/// Refuses a SQLite file, or one of the files of its log, which SQLite obeys as well. Looks at the files that links
/// lead to, as SQLite does.
///
/// # Errors
///
/// Fails if one of the files cannot be found, or may be changed by another user.
pub fn refuse_untrusted_database(path: &Path) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    for ending in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        let path = Path::new(&name);
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            about => refuse_untrusted(path, &about?)?,
        }
    }
    Ok(())
}

/// Refuses the folder of a file whose neighbours are obeyed as well, if another user may make files in it or replace it.
///
/// # Errors
///
/// Fails if the folder cannot be found, or may be changed by another user.
pub fn refuse_untrusted_folder(path: &Path) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let Some(folder) = folder_of(&path) else {
        return Ok(());
    };
    let about = fs::metadata(folder)?;
    refuse_foreign(folder, &about)?;
    if about.mode() & STICKY != 0 && refuse_writable(folder, &about).is_err() {
        let folder = folder.display();
        return Err(refused(format!(
            "other users may write to its folder {folder}; choose another folder"
        )));
    }
    for folder in folder.ancestors() {
        let about = fs::metadata(folder)?;
        // Only the owner replaces a folder in one with the sticky bit.
        if about.mode() & STICKY == 0 {
            refuse_writable(folder, &about)?;
        }
    }
    Ok(())
}

fn refuse_foreign(path: &Path, about: &Metadata) -> io::Result<()> {
    let own = geteuid().as_raw();
    let is_trusted = [own, 0].contains(&about.uid()) || is_of_our_group(about);
    if is_trusted || trusted_users()?.is_none_or(|users| users.contains(&about.uid())) {
        return Ok(());
    }
    let (path, owner) = (path.display(), about.uid());
    Err(refused(format!(
        "it belongs to another user ({owner}), who can change it; check it and run `sudo chown {own} '{path}'`, or set \
         {TRUSTED_USERS}={owner} if that user may decide it"
    )))
}

fn refuse_writable(path: &Path, about: &Metadata) -> io::Result<()> {
    // By convention a group with the number of a user has that user alone.
    let is_private = about.gid() == about.uid();
    let group_writes = about.mode() & GROUP_WRITES != 0 && !is_private && !is_of_our_group(about);
    let (who, change) = match about.mode() & OTHERS_WRITE != 0 {
        true => ("every user", "o-w"),
        false if group_writes => ("the users of its group", "g-w"),
        false => return Ok(()),
    };
    if has_no_modes(path) || trusted_users()?.is_none() {
        return Ok(());
    }
    let path = path.display();
    Err(refused(format!(
        "{who} may write to it; check it and run `chmod {change} '{path}'`, or set {TRUSTED_USERS}={ALL_USERS} where \
         no other user is, as in a container"
    )))
}

/// Whether the user shares files with a group of this process, and this file is that group's.
fn is_of_our_group(about: &Metadata) -> bool {
    let is_shared = Access::of_records().is_ok_and(Access::lets_group_write);
    let is_ours = |groups: Vec<Gid>| groups.iter().any(|group| group.as_raw() == about.gid());
    is_shared
        && about.mode() & GROUP_WRITES != 0
        && (about.gid() == getegid().as_raw() || getgroups().is_ok_and(is_ours))
}

/// The numbers of more trusted users; `None` for all users.
fn trusted_users() -> io::Result<Option<Vec<u32>>> {
    let text = env::var(TRUSTED_USERS).unwrap_or_default();
    if text.trim() == ALL_USERS {
        return Ok(None);
    }
    let users = text.split([',', ' ']).filter(|user| !user.is_empty());
    let users: Result<Vec<u32>, _> = users.map(str::parse).collect();
    users.map(Some).map_err(|_| {
        let text = format!(
            "{TRUSTED_USERS} is not a list of user numbers; write 1000, 1000,1001 or {ALL_USERS}"
        );
        io::Error::new(ErrorKind::InvalidInput, text)
    })
}

/// Whether a file system has no modes of its own: its mount gives all files the same one.
fn has_no_modes(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        // FAT, exFAT, NTFS, the folders of a host in its guest (9p, VirtualBox), CIFS and SMB 2.
        const ALL: [u32; 8] = [
            0x4d44,
            0x2011_bab0,
            0x5346_544e,
            0x7366_746e,
            0x0102_1997,
            0x786f_4256,
            0xff53_4d42,
            0xfe53_4d42,
        ];
        rustix::fs::statfs(path).is_ok_and(|about| {
            // The width and the sign of the number depend on the machine.
            ALL.iter()
                .any(|kind| about.f_type & 0xffff_ffff == i64::from(*kind))
        })
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        false
    }
}

fn refused(text: String) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, text)
}

/// The folder of a name; `None` for a root and for `..`.
pub(crate) fn folder_of(path: &Path) -> Option<&Path> {
    path.file_name()?;
    let folder = path.parent()?;
    Some(match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{PermissionsExt, chown},
        path::PathBuf,
    };

    use super::*;

    fn refusal(path: &Path) -> Option<String> {
        let refused = refuse_untrusted(path, &fs::metadata(path).unwrap()).err()?;
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
        Some(
            refused
                .to_string()
                .replace(&path.display().to_string(), "F"),
        )
    }

    fn file(folder: &Path, mode: u32) -> PathBuf {
        let path = folder.join(format!("{mode:o}"));
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_file_that_every_user_may_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o600, 0o644, 0o640, 0o444] {
            assert_eq!(refusal(&file(folder.path(), mode)), None, "{mode:o}");
        }
        for mode in [0o666, 0o602, 0o777] {
            let refused = refusal(&file(folder.path(), mode));
            let text = "every user may write to it; check it and run `chmod o-w 'F'`";
            assert!(refused.unwrap().starts_with(text), "{mode:o}");
        }
    }

    #[test]
    fn a_file_of_another_user_or_group_is_refused() {
        if !geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), 0o664);
        chown(&path, Some(0), Some(12345)).unwrap();
        let text = "the users of its group may write to it; check it and run `chmod g-w 'F'`";
        assert!(refusal(&path).unwrap().starts_with(text));
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(refusal(&path), None);
        chown(&path, Some(12345), Some(0)).unwrap();
        let text = "it belongs to another user (12345), who can change it; check it and run `sudo chown 0 'F'`, or set \
                    HEADWATER_TRUSTED_USERS=12345 if that user may decide it";
        assert_eq!(refusal(&path).as_deref(), Some(text));
    }

    #[test]
    fn a_folder_that_every_user_may_write_to_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let path = file(&folder, 0o600);
        for (mode, is_refused) in [
            (0o700, false),
            (0o755, false),
            (0o777, true),
            (0o1777, true),
        ] {
            fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
            let refused = refuse_untrusted_folder(&path);
            assert_eq!(refused.is_err(), is_refused, "{mode:o}: {refused:?}");
        }
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o777)).unwrap();
        refuse_untrusted_folder(&path).unwrap_err();
    }
}
