//! Profiles of Amazon's command line: `~/.aws/credentials` and `~/.aws/config`, which `object_store` does not read.
//!
//! Source: <https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html>

use std::{collections::BTreeMap, fs, io, path::PathBuf};

/// What the environment says: the value of a variable that is set and not empty.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What both files say of one profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    values: BTreeMap<String, String>,
}

/// Keys by which a profile gets its credentials from elsewhere.
const ELSEWHERE: [&str; 5] =
    ["sso_session", "sso_start_url", "credential_process", "role_arn", "web_identity_token_file"];

impl Profile {
    /// The one that `AWS_PROFILE` names, or `default`.
    ///
    /// # Errors
    /// A sentence: a file cannot be read, or the profile that is named is in neither.
    pub fn read(environment: Environment<'_>) -> Result<Self, String> {
        let named = environment("AWS_PROFILE").or_else(|| environment("AWS_DEFAULT_PROFILE"));
        let name = named.clone().unwrap_or_else(|| "default".into());
        let file = |variable: &str, file: &str| {
            let home = || PathBuf::from(environment("HOME").unwrap_or_default()).join(".aws").join(file);
            environment(variable).map_or_else(home, PathBuf::from)
        };
        let files = [
            (
                file("AWS_CONFIG_FILE", "config"),
                if name == "default" { name.clone() } else { format!("profile {name}") },
            ),
            (file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), name.clone()),
        ];
        let (mut values, mut there) = (BTreeMap::new(), false);
        for (path, section) in files {
            match fs::read_to_string(&path) {
                Ok(text) => {
                    // What the file of credentials says comes first, and so it is laid upon the other.
                    if let Some(found) = section_of(&text, &section) {
                        values.extend(found);
                        there = true;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let file = path.file_name().unwrap_or_default().to_string_lossy();
                    return Err(format!("Amazon's file `{file}` cannot be read: {error}"));
                }
            }
        }
        if named.is_some() && !there {
            return Err(format!(
                "AWS_PROFILE names `{name}`, and neither ~/.aws/credentials nor ~/.aws/config has such a profile: `aws configure \
                 list-profiles` names those that there are"
            ));
        }
        Ok(Self { name, values })
    }

    /// A value of it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The key by which it gets its credentials from elsewhere, if it has none itself.
    pub fn elsewhere(&self) -> Option<&'static str> {
        ELSEWHERE.into_iter().find(|key| self.get(key).is_some())
    }
}

/// What a section of such a file says. Nested settings, which are indented, are not needed here.
fn section_of(text: &str, section: &str) -> Option<BTreeMap<String, String>> {
    let (mut found, mut inside) = (None, false);
    for line in text.lines() {
        let bare = line.trim();
        if let Some(name) = bare.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = name.split_whitespace().eq(section.split_whitespace());
            if inside {
                found.get_or_insert_with(BTreeMap::new);
            }
        } else if inside
            && !line.starts_with([' ', '\t', '#', ';'])
            && let Some((key, value)) = bare.split_once('=')
        {
            found.get_or_insert_with(BTreeMap::new).insert(key.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_what_both_files_say_of_it() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let at = |name: &str| dir.path().join(name).display().to_string();
        fs::write(
            at("config"),
            "[default]\nregion = eu-south-1\n\n[profile lab]\nregion=eu-west-1\nendpoint_url = https://s3.lab\ns3 =\n  region = \
             no\n# a = b\n[profile org]\nsso_session = org\n",
        )?;
        fs::write(
            at("credentials"),
            "[default]\naws_access_key_id = A\naws_secret_access_key = s=1\n[lab]\nAWS_ACCESS_KEY_ID = B\n",
        )?;
        let read = |profile: Option<&str>| {
            Profile::read(&|name| match name {
                "AWS_PROFILE" => profile.map(str::to_owned),
                "AWS_CONFIG_FILE" => Some(at("config")),
                "AWS_SHARED_CREDENTIALS_FILE" => Some(at("credentials")),
                _ => None,
            })
        };
        let default = read(None).unwrap_or_default();
        assert_eq!((default.get("region"), default.get("aws_secret_access_key")), (Some("eu-south-1"), Some("s=1")));
        let lab = read(Some("lab")).unwrap_or_default();
        assert_eq!((lab.get("region"), lab.get("aws_access_key_id")), (Some("eu-west-1"), Some("B")));
        assert_eq!((lab.get("endpoint_url"), lab.elsewhere()), (Some("https://s3.lab"), None));
        assert_eq!(read(Some("org")).unwrap_or_default().elsewhere(), Some("sso_session"));
        assert!(read(Some("none")).is_err_and(|said| said.contains("AWS_PROFILE names `none`")));
        Ok(())
    }
}
