//! Passwords and keys of targets: from a file, the environment or a prompt, never from the command line.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::language::t;
use repository::{S3Keys, Secret, SmbAddress};

use super::credentials_file::{self, CredentialsFile};
use super::prompt;
use crate::failure::Failure;
use crate::operator::Credentials;

const PASSWORD: &str = "SOSEI_PASSWORD";
const PASSWORD_FILE: &str = "SOSEI_PASSWORD_FILE";
const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const KEY: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN: &str = "AWS_SESSION_TOKEN";
const KEYS_FILE: &str = "AWS_SHARED_CREDENTIALS_FILE";
const PROFILE: &str = "AWS_PROFILE";
/// A password is not longer; what is longer is another file, named by mistake.
const LENGTH_LIMIT: u64 = 4096;
/// Nor are the keys of all profiles.
const KEYS_LIMIT: u64 = 1 << 20;

/// Adds to the address of a share who logs in, where a file says it and the operator did not.
pub fn complete(address: &mut SmbAddress, credentials: &Credentials) -> Result<(), Failure> {
    let Some((path, file)) = file_of(credentials)? else { return Ok(()) };
    // The password of one user is not shown to a server in the name of another.
    for (named, own) in [(&address.user, &file.user), (&address.domain, &file.domain)] {
        if let (Some(named), Some(own)) = (named, own)
            && !named.eq_ignore_ascii_case(own)
        {
            let message = t!("failure.credentials_user", path = path.display(), own = own, named = named);
            return Err(Failure::usage("credentials-user", &message));
        }
    }
    address.user = address.user.take().or(file.user);
    address.domain = address.domain.take().or(file.domain);
    Ok(())
}

/// The file that was named, and what it holds.
fn file_of(credentials: &Credentials) -> Result<Option<(&Path, CredentialsFile)>, Failure> {
    let path = credentials.file.as_deref();
    path.map(|path| Ok((path, CredentialsFile::read(path)?))).transpose()
}

/// The file with keys for Kerberos that a credentials file names; one that does not stand there wants a password.
pub fn keytab(credentials: &Credentials) -> Result<Option<PathBuf>, Failure> {
    let Some(keytab) = file_of(credentials)?.and_then(|(_, file)| file.keytab) else { return Ok(None) };
    // It opens as much as a password does.
    let path = PathBuf::from(keytab.strip_prefix("FILE:").unwrap_or(&keytab));
    credentials_file::open(&path)?;
    Ok(Some(path))
}

/// The password of `user` on `server`: of a file of `SOSEI_PASSWORD_FILE` the first line; typed, where there is a
/// terminal.
pub fn password(user: &str, server: &str, credentials: &Credentials) -> Result<Secret, Failure> {
    if let Some(password) = &credentials.password {
        return Ok(password.clone());
    }
    if let Some(password) = file_of(credentials)?.and_then(|(_, file)| file.password) {
        return Ok(password);
    }
    if let Ok(password) = std::env::var(PASSWORD) {
        return Ok(Secret::new(password));
    }
    if let Some(path) = std::env::var_os(PASSWORD_FILE) {
        let text = read(Path::new(&path), LENGTH_LIMIT)?;
        return Ok(Secret::new(text.lines().next().unwrap_or_default().to_owned()));
    }
    let missing = || Failure::usage("password-missing", &t!("failure.password_missing", user = user, server = server));
    if !credentials.may_ask {
        return Err(missing());
    }
    let typed = prompt::secret(&t!("target.password", user = user, server = server));
    typed?.map(Secret::new).ok_or_else(missing)
}

/// The keys of object storage, where the tools of Amazon look for them too.
pub fn keys(credentials: &Credentials) -> Result<S3Keys, Failure> {
    if let Some(keys) = &credentials.keys {
        return Ok(keys.clone());
    }
    if let Some(keys) = file_of(credentials)?.and_then(|(_, file)| file.keys) {
        return Ok(keys);
    }
    if let (Ok(id), Ok(key)) = (std::env::var(KEY_ID), std::env::var(KEY)) {
        let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty()).map(Secret::new);
        return Ok(S3Keys { id, secret: Secret::new(key), token });
    }
    let in_home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".aws/credentials"));
    let named = std::env::var_os(KEYS_FILE).map(PathBuf::from);
    let profile = std::env::var(PROFILE).unwrap_or_else(|_| "default".into());
    let missing = || Failure::usage("keys-missing", &t!("failure.keys_missing", profile = profile));
    let path = match named {
        Some(path) => path,
        None => in_home().filter(|path| path.is_file()).ok_or_else(missing)?,
    };
    S3Keys::of_profile(&read(&path, KEYS_LIMIT)?, &profile).ok_or_else(missing)
}

/// A small file. Neither its text nor a part of it gets into a message.
fn read(path: &Path, limit: u64) -> Result<String, Failure> {
    let failed = |details: &str| {
        Failure::usage("password-file", &t!("failure.password_file", path = path.display(), details = details))
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| failed(&error.to_string()))?;
    let read = file.take(limit.saturating_add(1)).read_to_string(&mut text);
    read.map_err(|error| failed(&error.to_string()))?;
    if u64::try_from(text.len()).is_ok_and(|length| length <= limit) {
        return Ok(text);
    }
    Err(failed(&t!("failure.too_long", limit = limit)))
}
