//! Who pushes, and the repository that is pushed to.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    client::{About, Call, Client},
    error::{Error, Result},
    names::{Repo, encoded},
    watch::Watch,
};

#[derive(Deserialize)]
struct Who {
    name: String,
    #[serde(default)]
    auth: Value,
}

impl Client {
    /// The account that the token is of.
    ///
    /// # Errors
    /// There is no token, it is refused, or it may read only.
    pub fn writer(&self, repo: &Repo, watch: &dyn Watch) -> Result<String> {
        let (endpoint, file) = (self.endpoint().to_owned(), self.settings().token_file_name());
        if self.settings().offline {
            return Err(Error::NeedsHub { what: repo.to_string() });
        }
        if self.settings().token.is_none() {
            return Err(Error::NoToken { endpoint, file });
        }
        let about = About { repo: Some(repo), writes: true, ..About::default() };
        let who: Who = self.json(&Call::get(format!("{endpoint}/api/whoami-v2"), about), watch)?;
        if who.auth["accessToken"]["role"] == "read" {
            return Err(Error::ReadOnly { repo: repo.to_string(), endpoint });
        }
        Ok(who.name)
    }

    /// Create a repository. One that is there by now is as good.
    ///
    /// # Errors
    /// The Hub refuses or cannot be reached.
    pub fn create(&self, repo: &Repo, writer: &str, private: bool, watch: &dyn Watch) -> Result<()> {
        let (owner, name) = repo.id.split_once('/').unwrap_or_default();
        let mut body = json!({ "name": name, "type": repo.kind.singular(), "private": private });
        if owner != writer {
            body["organization"] = owner.into();
        }
        let about = About { repo: Some(repo), writes: true, ..About::default() };
        let call = Call::post(format!("{}/api/repos/create", self.endpoint()), &body, about)?;
        there_is_well(self.text(&call, watch))
    }

    /// Create a branch where another revision is. One that is there by now is as good.
    ///
    /// # Errors
    /// The Hub refuses or cannot be reached.
    pub fn branch(&self, repo: &Repo, branch: &str, from: &str, watch: &dyn Watch) -> Result<()> {
        let about = About { repo: Some(repo), revision: Some(from), file: None, writes: true };
        let url = repo.api(self.endpoint(), &format!("branch/{}", encoded(branch)));
        there_is_well(self.text(&Call::post(url, &json!({ "startingPoint": from }), about)?, watch))
    }
}

fn there_is_well<T>(result: Result<T>) -> Result<()> {
    match result {
        Err(Error::Refused { status: 409, .. }) => Ok(()),
        result => result.map(drop),
    }
}
