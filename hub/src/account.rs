//! Who pushes, and the repository that is pushed to.

use serde::Deserialize;
use serde_json::{Value, json};

use setaccio_base::progress::Progress;

use crate::{
    client::Client,
    error::{Error, Result},
    repo::{Repo, percent_encode},
    request::{ApiRequest, RequestContext},
};

/// Who may see a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody.
    Public,
    /// Its owner.
    Private,
}

#[derive(Deserialize)]
struct WhoAmI {
    name: String,
    #[serde(default)]
    auth: Value,
}

impl Client {
    /// The account that the token is of.
    ///
    /// # Errors
    /// There is no token, it is refused, or it may read only.
    pub fn whoami(&self, repo: &Repo, progress: &dyn Progress) -> Result<String> {
        let (endpoint, file) = (self.endpoint().to_owned(), self.settings().token_file_name());
        if self.settings().offline {
            return Err(Error::NeedsHub { what: repo.to_string() });
        }
        if self.settings().token.is_none() {
            return Err(Error::NoToken { endpoint, file });
        }
        let context = RequestContext { repo: Some(repo), writes: true, ..RequestContext::default() };
        let who: WhoAmI = self.json(&ApiRequest::get(format!("{endpoint}/api/whoami-v2"), context), progress)?;
        if who.auth["accessToken"]["role"] == "read" {
            return Err(Error::ReadOnly { repo: repo.to_string(), endpoint });
        }
        Ok(who.name)
    }

    /// Create a repository. One that is there by now is as good.
    pub fn create_repo(
        &self,
        repo: &Repo,
        writer: &str,
        visibility: Visibility,
        progress: &dyn Progress,
    ) -> Result<()> {
        let (owner, name) = repo.id.split_once('/').unwrap_or_default();
        let mut body =
            json!({ "name": name, "type": repo.kind.singular(), "private": visibility == Visibility::Private });
        if owner != writer {
            body["organization"] = owner.into();
        }
        let context = RequestContext { repo: Some(repo), writes: true, ..RequestContext::default() };
        let request = ApiRequest::post(format!("{}/api/repos/create", self.endpoint()), &body, context)?;
        ok_if_exists(self.text(&request, progress))
    }

    /// Create a branch where another revision is. One that is there by now is as good.
    pub fn create_branch(&self, repo: &Repo, branch: &str, from: &str, progress: &dyn Progress) -> Result<()> {
        let context = RequestContext { repo: Some(repo), revision: Some(from), file: None, writes: true };
        let url = repo.api(self.endpoint(), &format!("branch/{}", percent_encode(branch)));
        ok_if_exists(self.text(&ApiRequest::post(url, &json!({ "startingPoint": from }), context)?, progress))
    }
}

fn ok_if_exists<T>(result: Result<T>) -> Result<()> {
    match result {
        Err(Error::Refused { status: 409, .. }) => Ok(()),
        result => result.map(drop),
    }
}
