//! The file that `--credentials` names: who the target is told that this is, and the password or keys.
//!
//! Lines of `name=value`, with the names that `mount.cifs` and the tools of Amazon use, so that one file serves them
//! all. A file that others can read holds no secret any more, and is refused before it is read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::language::t;
use repository::{S3Keys, Secret};
use rustix::fs::{Mode, OFlags};

use crate::failure::Failure;

/// A file with passwords is not larger; what is larger is another one, named by mistake.
const LENGTH_LIMIT: u64 = 64 << 10;
/// Rights of the group and of others.
const FOREIGN: u32 = 0o077;

/// What a file holds; each may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialsFile {
    /// The user of a share.
    pub user: Option<String>,
    /// The domain of that user.
    pub domain: Option<String>,
    /// The password of that user.
    pub password: Option<Secret>,
    /// A file with the keys of that user for Kerberos.
    pub keytab: Option<String>,
    /// Keys of object storage.
    pub keys: Option<S3Keys>,
}

impl CredentialsFile {
    /// Reads a file that nobody else can read.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |details: &str| unusable(path, details);
        let file = open(path)?;
        let mut text = String::new();
        let read = file.take(LENGTH_LIMIT.saturating_add(1)).read_to_string(&mut text);
        read.map_err(|error| failed(&error.to_string()))?;
        if u64::try_from(text.len()).is_ok_and(|length| length > LENGTH_LIMIT) {
            return Err(failed(&t!("failure.too_long", limit = LENGTH_LIMIT)));
        }
        Self::parse(&text).map_err(|line| failed(&t!("failure.credentials_line", line = line)))
    }

    /// The content of a file; else the number of the line that is wrong, as no message may repeat what stands there.
    fn parse(text: &str) -> Result<Self, usize> {
        let mut file = Self::default();
        let (mut id, mut secret, mut token) = (None, None, None);
        let mut lines = 0_usize;
        for (number, line) in (1_usize..).zip(text.lines()) {
            lines = number;
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            let (name, value) = line.split_once('=').ok_or(number)?;
            let name = name.trim().to_ascii_lowercase();
            let place = match name.as_str() {
                // Spaces may be a part of it.
                "password" => match file.password.replace(Secret::new(value.to_owned())) {
                    None => continue,
                    Some(_) => return Err(number),
                },
                "username" | "user" => &mut file.user,
                "domain" => &mut file.domain,
                "keytab" => &mut file.keytab,
                "aws_access_key_id" => &mut id,
                "aws_secret_access_key" => &mut secret,
                "aws_session_token" => &mut token,
                _ => return Err(number),
            };
            let value = value.trim();
            if value.is_empty() || place.replace(value.to_owned()).is_some() {
                return Err(number);
            }
        }
        file.keys = match (id, secret, token) {
            (None, None, None) => None,
            (Some(id), Some(secret), token) => {
                Some(S3Keys { id, secret: Secret::new(secret), token: token.map(Secret::new) })
            }
            // Half of a pair opens nothing.
            _ => return Err(lines),
        };
        Ok(file)
    }
}

fn unusable(path: &Path, details: &str) -> Failure {
    Failure::usage("credentials-file", &t!("failure.password_file", path = path.display(), details = details))
}

/// Opens a file with a secret that nobody else can read.
pub fn open(path: &Path) -> Result<File, Failure> {
    let failed = |details: &str| unusable(path, details);
    // Whatever it is, opening it waits for nobody.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map(File::from);
    let file = opened.map_err(|error| failed(&io::Error::from(error).to_string()))?;
    // Of the file that is open, not of what may have its name by now.
    let found = file.metadata().map_err(|error| failed(&error.to_string()))?;
    if !found.is_file() {
        return Err(failed(&t!("failure.no_file")));
    }
    let own = rustix::process::geteuid().as_raw();
    if found.mode() & FOREIGN != 0 || (found.uid() != own && found.uid() != 0) {
        let mode = format!("{:04o}", found.mode() & 0o7777);
        let message = t!("failure.credentials_open", path = path.display(), mode = mode, owner = found.uid());
        let next = t!("next.credentials_open", path = path.display()).into_owned();
        return Err(Failure { next, ..Failure::refused("credentials-open", &message) });
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_two_worlds_are_known() {
        let text = "# for the nightly save\nusername=saver\npassword= open = sesame \n\ndomain = LAB\nkeytab=/k\n\
                    AWS_ACCESS_KEY_ID=AKIA1\r\naws_secret_access_key = one/two+three=\n";
        let file = CredentialsFile::parse(text).unwrap();
        assert_eq!((file.user.as_deref(), file.domain.as_deref()), (Some("saver"), Some("LAB")));
        assert_eq!(file.password.unwrap().reveal(), " open = sesame ");
        assert_eq!(file.keytab.as_deref(), Some("/k"));
        let keys = file.keys.unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.reveal(), keys.token), ("AKIA1", "one/two+three=", None));
        assert_eq!(CredentialsFile::parse("\n# nothing\n"), Ok(CredentialsFile::default()));
        assert_eq!(CredentialsFile::parse("password=\n").unwrap().password.unwrap().reveal(), "");
    }

    #[test]
    fn what_is_wrong_is_told_by_the_number_of_its_line() {
        let cases = [
            ("password=a\nhunter2\n", 2),
            ("pasword=hunter2\n", 1),
            ("user=a\nusername=b\n", 2),
            ("password=a\npassword=b\n", 2),
            ("user=\n", 1),
            ("\naws_access_key_id=AKIA1\n", 2),
            ("aws_session_token=x\n", 1),
            ("[default]\n", 1),
        ];
        for (text, line) in cases {
            assert_eq!(CredentialsFile::parse(text), Err(line), "{text}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_not_opened() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keytab");
        std::fs::write(&path, "keys").unwrap();
        let opened = |mode: u32| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            open(&path).map(|_| ()).map_err(|failure| failure.code)
        };
        assert_eq!(opened(0o600), Ok(()));
        assert_eq!((opened(0o640), opened(0o604)), (Err("credentials-open".into()), Err("credentials-open".into())));
        assert_eq!(open(directory.path()).unwrap_err().code, "credentials-file");
    }

    #[test]
    fn it_is_not_printed() {
        let file = CredentialsFile::parse("password=hunter2\naws_access_key_id=A\naws_secret_access_key=hunter3\n");
        let printed = format!("{file:?}");
        assert!(!printed.contains("hunter"), "{printed}");
    }
}
