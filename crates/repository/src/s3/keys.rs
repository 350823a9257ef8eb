//! The keys of an account of object storage.
//!
//! Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files".

use crate::address::Secret;

/// Who asks, and how the server can know that it is really them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Keys {
    /// Name of the key; no secret.
    pub id: String,
    /// The key.
    pub secret: Secret,
    /// A token that goes with keys that end soon.
    pub token: Option<Secret>,
}

impl S3Keys {
    /// The keys of `profile` in the text of a credentials file.
    pub fn of_profile(text: &str, profile: &str) -> Option<Self> {
        let (mut id, mut secret, mut token) = (None, None, None);
        let mut is_ours = false;
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                is_ours = name.trim() == profile;
                continue;
            }
            let Some((name, value)) = line.split_once('=').filter(|_| is_ours && !line.starts_with('#')) else {
                continue;
            };
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match name.trim().to_ascii_lowercase().as_str() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value.map(Secret::new),
                "aws_session_token" => token = value.map(Secret::new),
                _ => {}
            }
        }
        Some(Self { id: id?, secret: secret?, token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# comment
[default]
aws_access_key_id = AKIA1
aws_secret_access_key=one/two+three=
[ other ]
aws_access_key_id=AKIA2
#aws_secret_access_key=old
AWS_SECRET_ACCESS_KEY = four
aws_session_token = five
[half]
aws_access_key_id = AKIA3
aws_secret_access_key =
";

    #[test]
    fn keys_are_those_of_the_profile() {
        let keys = S3Keys::of_profile(FILE, "default").unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.reveal(), keys.token), ("AKIA1", "one/two+three=", None));
        let keys = S3Keys::of_profile(FILE, "other").unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.reveal()), ("AKIA2", "four"));
        assert_eq!(keys.token.unwrap().reveal(), "five");
        assert_eq!(S3Keys::of_profile(FILE, "half"), None);
        assert_eq!(S3Keys::of_profile(FILE, "absent"), None);
    }

    #[test]
    fn keys_are_not_printed() {
        let printed = format!("{:?}", S3Keys::of_profile(FILE, "other").unwrap());
        assert!(!printed.contains("four") && !printed.contains("five"), "{printed}");
    }
}
