//! Reading kubeconfigs as kubectl does: one file or a list, merged by client-go's rules.
//!
//! Knows files and contexts; what is done with them is [`super`]'s.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig, NamedContext};

use super::ClusterError;
use super::retry::chain;
use crate::net::proxy::ProxyUrl;

/// What a kubeconfig says about one context.
pub(super) struct Chosen {
    pub config: kube::Config,
    /// `proxy-url` of the cluster.
    pub proxy: Option<ProxyUrl>,
    /// For messages: `the kubeconfig X`.
    pub place: String,
}

/// The files of a list. Empty names (a `:` at the end) count for nothing.
fn listed(list: &Path) -> Vec<PathBuf> {
    std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect()
}

fn bad(text: String) -> ClusterError {
    ClusterError::Config(text)
}

/// The file that is read where none is named.
fn default_file() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".kube").join("config"))
}

/// Reads and merges. The first file to set a value or a map's key wins; files of a list that do not exist
/// are left out, a single one must exist.
fn read(list: &[PathBuf]) -> Result<Kubeconfig, ClusterError> {
    let alone = list.len() == 1;
    let mut merged: Option<Kubeconfig> = None;
    for path in list.iter().filter(|path| alone || path.exists()) {
        let failed = |e| bad(format!("failed to read the kubeconfig {}: {}", path.display(), chain(&e)));
        let mut next = Kubeconfig::read_from(path).map_err(failed)?;
        next.current_context = next.current_context.filter(|name| !name.is_empty());
        merged = Some(match merged {
            None => next,
            Some(first) => first.merge(next).map_err(failed)?,
        });
    }
    merged.ok_or_else(|| bad(format!("none of the kubeconfigs exists: {}", named(list))))
}

fn named(list: &[PathBuf]) -> String {
    list.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// `list`: the setting or `KUBECONFIG`; `None`: the default file.
pub(super) async fn choose(list: Option<&Path>, context: Option<&str>) -> Result<Chosen, ClusterError> {
    const OTHERWISE: &str = "set cluster_host with cluster_token, or cluster_username and cluster_password, or \
                             kubeconfig, or run in the cluster";
    let files = match list.map(listed).filter(|files| !files.is_empty()) {
        Some(files) => files,
        None => default_file().filter(|path| path.exists()).into_iter().collect(),
    };
    if files.is_empty() {
        return Err(bad(format!("there is no kubeconfig; {OTHERWISE}")));
    }
    let place = match files.as_slice() {
        [one] => format!("the kubeconfig {}", one.display()),
        many => format!("the kubeconfigs {}", named(many)),
    };
    let read = read(&files)?;
    let context = context.map(str::to_owned).or_else(|| read.current_context.clone());
    let contexts = || match read.contexts.iter().map(|c| c.name.as_str()).collect::<Vec<_>>() {
        none if none.is_empty() => "it has no context at all".to_owned(),
        names => format!("its contexts are {}", names.join(", ")),
    };
    let Some(context) = context else {
        return Err(bad(format!("{place} has no current-context; {}: name one by kubeconfig_context", contexts())));
    };
    let Some(chosen) = read.contexts.iter().find(|c| c.name == context) else {
        return Err(bad(format!("{place} has no context {context}; {}", contexts())));
    };
    let proxy = proxy_of(&read, chosen).map(|url| ProxyUrl::parse(&url, &format!("proxy-url of {place}"))).transpose();
    let proxy = proxy.map_err(|e| bad(e.to_string()))?;
    let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
    let config = kube::Config::from_custom_kubeconfig(read, &options).await;
    let config = config.map_err(|e| bad(format!("failed to use context {context} of {place}: {}", chain(&e))))?;
    Ok(Chosen { config, proxy, place })
}

fn proxy_of(config: &Kubeconfig, context: &NamedContext) -> Option<String> {
    let cluster = &context.context.as_ref()?.cluster;
    let cluster = config.clusters.iter().find(|c| c.name == *cluster)?;
    cluster.cluster.as_ref()?.proxy_url.clone().filter(|url| !url.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, name: &str, current: &str, context: &str, server: &str, more: &str) -> PathBuf {
        let path = dir.join(name);
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: '{current}'\n\
             clusters: [{{name: {context}, cluster: {{server: '{server}'{more}}}}}]\n\
             contexts: [{{name: {context}, context: {{cluster: {context}, user: u}}}}]\n\
             users: [{{name: u, user: {{token: '{context}-token'}}}}]\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    fn list(paths: &[&Path], end: &str) -> PathBuf {
        let joined = paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(":");
        PathBuf::from(format!("{joined}{end}"))
    }

    async fn server(list: &Path, context: Option<&str>) -> Result<String, String> {
        choose(Some(list), context).await.map(|c| c.config.cluster_url.to_string()).map_err(|e| e.to_string())
    }

    #[tokio::test]
    async fn a_list_is_merged_as_kubectl_merges_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = file(dir.path(), "first", "", "a", "https://a:1", "");
        let second = file(dir.path(), "second", "b", "b", "https://b:2", "");
        let other_a = file(dir.path(), "third", "a", "a", "https://never:3", "");
        let missing = dir.path().join("missing");
        let all = list(&[&first, &missing, &second, &other_a], ":");
        assert_eq!(server(&all, None).await.unwrap(), "https://b:2/", "the first that sets a current-context");
        assert_eq!(server(&all, Some("a")).await.unwrap(), "https://a:1/", "the first that has a key");
        assert_eq!(server(&list(&[&second], ":"), None).await.unwrap(), "https://b:2/", "a colon at the end");
        let said = server(&missing, None).await.unwrap_err();
        assert!(said.contains("missing"), "{said}");
    }

    #[tokio::test]
    async fn a_context_that_is_missing_is_answered_with_those_that_exist() {
        let dir = tempfile::tempdir().unwrap();
        let first = file(dir.path(), "first", "", "a", "https://a:1", "");
        let second = file(dir.path(), "second", "", "b", "https://b:2", "");
        let both = list(&[&first, &second], "");
        let said = server(&both, Some("c")).await.unwrap_err();
        assert!(said.contains("no context c") && said.contains("its contexts are a, b"), "{said}");
        let said = server(&both, None).await.unwrap_err();
        assert!(said.contains("no current-context") && said.contains("its contexts are a, b"), "{said}");
    }

    #[tokio::test]
    async fn a_clusters_own_proxy_is_read_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "one", "a", "a", "https://a:1", ", proxy-url: 'http://u:p@proxy:3128'");
        let chosen = choose(Some(&path), None).await.unwrap();
        assert_eq!(chosen.proxy.unwrap().to_string(), "http://proxy:3128/");
    }
}
