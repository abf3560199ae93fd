//! What an API server said, for whoever reads it: our client's own words hold a dump of its whole answer.

/// The message of its answer, as Go's clients hand it on (`StatusError.Error`, apimachinery's `api/errors`); of anything
/// else that failed, what it was.
pub(super) fn by(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_api_server_refuses_is_told_in_its_own_words_alone() {
        let status = kube::core::Status::failure("secrets \"x\" not found", "NotFound").with_code(404);
        let told = format!("failed to get storage secret: {}", by(kube::Error::Api(Box::new(status))));
        assert_eq!(told, "failed to get storage secret: secrets \"x\" not found");
    }
}
