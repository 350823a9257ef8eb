//! The password of a target: from the environment or a file, never from the command line.

use repository::Secret;
use rust_i18n::t;

use crate::failure::Failure;

const PASSWORD: &str = "SOSEI_PASSWORD";
const PASSWORD_FILE: &str = "SOSEI_PASSWORD_FILE";
/// A password is not longer; what is longer is another file, named by mistake.
const LENGTH_LIMIT: usize = 4096;

/// The password, where one was given. Of a file, the first line counts.
#[expect(dead_code, reason = "for targets with a login")]
pub fn password() -> Result<Option<Secret>, Failure> {
    if let Ok(password) = std::env::var(PASSWORD) {
        return Ok(Some(Secret::new(password)));
    }
    let Some(path) = std::env::var_os(PASSWORD_FILE) else { return Ok(None) };
    let failed = |details: &str| {
        let path = path.to_string_lossy();
        Failure::usage("password-file", &t!("failure.password_file", path = path, details = details))
    };
    let text = std::fs::read_to_string(&path).map_err(|error| failed(&error.to_string()))?;
    if text.len() > LENGTH_LIMIT {
        return Err(failed(&format!("{} bytes, at most {LENGTH_LIMIT} are expected", text.len())));
    }
    Ok(Some(Secret::new(text.lines().next().unwrap_or_default().to_owned())))
}
