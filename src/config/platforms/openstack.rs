//! OpenStack, by Keystone v3.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::keys::{Check, Common, Parts, given};
use super::{Credentials, PlatformConfig};

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Keys {
    /// The user that MTV and the runner log in as. Required but with an application credential by id.
    username: Option<String>,
    /// The password of `username`. Required but with an application credential.
    #[schemars(with = "Option<String>")]
    password: Option<SecretString>,
    /// Keystone's v3 URL, e.g. `https://overcloud.example.com:13000/v3`; `spec.url` of MTV's Provider. Required.
    api_url: Option<String>,
    /// `password` (default) or `applicationcredential`.
    auth_type: Option<AuthType>,
    /// The project; this or `project_id`, not needed by an application credential.
    project_name: Option<String>,
    /// The project by id.
    project_id: Option<String>,
    /// Region of the catalogue. Required.
    region_name: Option<String>,
    /// Domain of the user; this or `user_domain_id`.
    user_domain_name: Option<String>,
    /// Domain of the user by id.
    user_domain_id: Option<String>,
    /// Domain of the project, where it is another than the user's.
    project_domain_name: Option<String>,
    /// Domain of the project by id.
    project_domain_id: Option<String>,
    /// The application credential by id.
    application_credential_id: Option<String>,
    /// The application credential by name, with `username` and the user's domain.
    application_credential_name: Option<String>,
    /// The secret of the application credential.
    #[schemars(with = "Option<String>")]
    application_credential_secret: Option<SecretString>,
    /// Interface of the catalogue's endpoints: `public` (default), `internal` or `admin`.
    availability: Option<String>,
}

/// MTV's words for the Secret's `authType`.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum AuthType {
    Password,
    ApplicationCredential,
}

/// How Keystone is asked for a token.
#[derive(Debug, Clone, Default)]
pub enum OpenstackAuth {
    /// `username` and `password`, scoped to the project.
    #[default]
    Password,
    /// An application credential: by id, or by name with `username` and the user's domain. It carries
    /// its own project.
    ApplicationCredential { id: String, name: String, secret: SecretString },
}

/// Texts are empty where the profile does not say.
#[derive(Debug, Clone, Default)]
pub struct OpenstackConfig {
    pub auth: OpenstackAuth,
    pub project_name: String,
    pub project_id: String,
    pub region_name: String,
    pub user_domain_name: String,
    pub user_domain_id: String,
    pub project_domain_name: String,
    pub project_domain_id: String,
    /// Interface of the catalogue's endpoints: `public` (the default), `internal` or `admin`.
    pub availability: String,
}

impl super::keys::Keys for Keys {
    const IDLE: &'static [&'static str] = &[];

    fn profile(self, _: &Common, check: &mut Check) -> Parts {
        let api_url = check.https(self.api_url, "");
        // An application credential carries user and project; by name it still needs its user.
        let credential = self.auth_type == Some(AuthType::ApplicationCredential);
        let id = given(self.application_credential_id);
        let by_name = credential && id.is_none();
        let (auth, login) = if credential {
            let name = check.required_if(by_name, "application_credential_name", self.application_credential_name);
            let secret = check.required_secret("application_credential_secret", self.application_credential_secret);
            let username = check.required_if(by_name, "username", self.username);
            let auth = OpenstackAuth::ApplicationCredential { id: id.unwrap_or_default(), name, secret };
            (auth, Credentials { username, password: self.password.unwrap_or_default() })
        } else {
            (OpenstackAuth::Password, check.login(self.username, self.password))
        };
        let (project_id, user_domain_id) = (given(self.project_id), given(self.user_domain_id));
        let needs_project = !credential && project_id.is_none();
        let needs_domain = user_domain_id.is_none() && (!credential || by_name);
        let config = OpenstackConfig {
            auth,
            project_name: check.required_if(needs_project, "project_name", self.project_name),
            project_id: project_id.unwrap_or_default(),
            region_name: check.required("region_name", self.region_name),
            user_domain_name: check.required_if(needs_domain, "user_domain_name", self.user_domain_name),
            user_domain_id: user_domain_id.unwrap_or_default(),
            project_domain_name: self.project_domain_name.unwrap_or_default(),
            project_domain_id: self.project_domain_id.unwrap_or_default(),
            availability: self.availability.unwrap_or_default(),
        };
        Parts {
            api_url,
            login,
            vms: Default::default(),
            one_at_a_time: false,
            config: PlatformConfig::Openstack(config),
        }
    }
}
