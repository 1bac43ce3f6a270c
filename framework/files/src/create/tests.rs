use std::os::unix::fs::{PermissionsExt, chown, symlink};

use super::*;

const STRANGER: u32 = 4711;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// A folder that every user may write to; `None` where this user cannot give files away.
fn everybodys() -> Option<tempfile::TempDir> {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let trial = folder.path().join("trial");
    fs::write(&trial, "").unwrap();
    let is_given = chown(&trial, Some(STRANGER), None).is_ok();
    fs::remove_file(trial).unwrap();
    is_given.then_some(folder)
}

#[test]
fn a_new_file_is_for_its_owner_and_one_that_is_there_keeps_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let (new, old) = (folder.path().join("new"), folder.path().join("old"));
    open_or_make(&new, Access::OWNER).unwrap();
    assert_eq!(mode(&new), 0o600);
    fs::write(&old, "kept").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o644)).unwrap();
    open_or_make(&old, Access::OWNER).unwrap();
    open_or_make_lock(&old, Access::OWNER).unwrap();
    make_database(&old, Access::OWNER).unwrap();
    assert_eq!(mode(&old), 0o644);
    assert_eq!(fs::read_to_string(&old).unwrap(), "kept");
    let deep = folder.path().join("a/b");
    make_folder(&deep, Access::OWNER).unwrap();
    assert_eq!((mode(&deep), mode(deep.parent().unwrap())), (0o700, 0o700));
}

#[test]
fn a_mode_is_one_in_which_the_owner_reads_and_writes() {
    for (text, expected, of_folder) in [
        ("600", 0o600, 0o700),
        ("0640", 0o640, 0o750),
        ("660", 0o660, 0o770),
        ("644", 0o644, 0o755),
    ] {
        let access = Access::parse(OsStr::new(text)).unwrap();
        assert_eq!((access.0, access.of_folder()), (expected, of_folder));
    }
    for text in ["", "700", "640x", "+640", "400", "4600", "rw-", "999"] {
        let error = Access::parse(OsStr::new(text)).unwrap_err();
        assert!(error.to_string().contains("write 600, 640"), "{error}");
    }
}

#[test]
fn a_link_of_this_user_is_followed_but_never_for_a_lock_or_for_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let (link, target) = (folder.path().join("link"), folder.path().join("target"));
    symlink("target", &link).unwrap();
    open_or_make(&link, Access::OWNER).unwrap();
    assert!(target.exists() && fs::symlink_metadata(&link).unwrap().is_symlink());
    let error = open_or_make_lock(&link, Access::OWNER).unwrap_err();
    assert!(error.to_string().contains("is a link"), "{error}");
    assert!(make_new(&link, Access::OWNER).is_err());
}

#[test]
fn what_a_stranger_put_where_everybody_writes_is_refused() {
    let Some(folder) = everybodys() else {
        return eprintln!("skipped: only a superuser gives files away");
    };
    let at = |name: &str| folder.path().join(name);
    fs::write(at("mine"), "mine").unwrap();
    symlink("mine", at("link")).unwrap();
    std::os::unix::fs::lchown(at("link"), Some(STRANGER), None).unwrap();
    fs::write(at("file"), "").unwrap();
    chown(at("file"), Some(STRANGER), None).unwrap();
    fs::create_dir(at("folder")).unwrap();
    chown(at("folder"), Some(STRANGER), None).unwrap();
    let says = |result: io::Result<()>| {
        let said = result.unwrap_err().to_string();
        assert!(said.contains("belongs to another user"), "{said}");
    };
    for name in ["link", "file"] {
        says(open_or_make(&at(name), Access::OWNER).map(drop));
        says(make_database(&at(name), Access::OWNER));
        says(crate::replace_file(&at(name), b"secret"));
    }
    says(open_or_make_lock(&at("file"), Access::OWNER).map(drop));
    for name in ["folder", "folder/", "folder/below"] {
        says(make_folder(&at(name), Access::OWNER));
    }
    assert!(!at("folder/below").exists());
    assert_eq!(fs::read_to_string(at("mine")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(at("file")).unwrap(), "");
    // Where only the owner of a folder writes, a file of a stranger is no trap.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["link", "file"] {
        open_or_make(&at(name), Access::OWNER).unwrap();
    }
    make_folder(&at("folder"), Access::OWNER).unwrap();
}

#[test]
fn what_stands_in_the_way_of_a_fixed_name_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let (path, victim) = (folder.path().join("state"), folder.path().join("victim"));
    fs::write(&victim, "untouched").unwrap();
    symlink("victim", folder.path().join("state.new")).unwrap();
    crate::replace_file(&path, b"new").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert!(folder.path().join("state.new").is_symlink());
}

#[test]
fn what_a_killed_process_left_goes_and_what_another_one_writes_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut killed = ReplacementFile::new(&path, Access::OWNER).unwrap();
    let left = killed.path().to_owned();
    killed.keep();
    drop(killed);
    let other = ReplacementFile::new(&path, Access::OWNER).unwrap();
    let mine = folder.path().join(".state.notes.new");
    fs::write(&mine, "mine").unwrap();
    crate::replace_file(&path, b"new").unwrap();
    assert!(!left.exists());
    assert!(other.path().exists() && mine.exists());
    drop(other);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn the_longest_name_can_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n".repeat(255));
    crate::replace_file(&path, b"new").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
}

#[test]
fn a_name_that_is_taken_is_never_replaced_by_what_appears() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let make = |text: &str| {
        let replacement = ReplacementFile::new(&path, Access::OWNER).unwrap();
        replacement.fill(text.as_bytes()).unwrap();
        replacement.appear(&path)
    };
    make("first").unwrap();
    let error = make("second").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&path).unwrap(), "first");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
