//! What the gateway answers itself when a tenant does not: kinds, status codes, words.

use http::StatusCode;

use super::routes::Locale;

/// A reason for the gateway to answer itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// No tenant has this host.
    UnknownAddress,
    /// The tenant is suspended by decision. 503, not 403: nothing is wrong with the request or with who sent it, so an
    /// offline client must keep what it has not sent yet and try again, which is what clients do on 503.
    Suspended,
    /// A backup takes the place of the tenant's data. 503 for the same reason: it will be served again soon.
    Restoring,
    /// The tenant could not be connected to, or is not to be served for now.
    Unreachable,
    /// The tenant hung up or answered nonsense.
    BrokenAnswer,
    /// The tenant was silent for too long.
    SilentTenant,
    /// The tenant has as many open requests as it may have.
    Busy,
    /// The request is malformed or ambiguous.
    BadRequest,
    /// A method that makes no sense at this place.
    MethodNotAllowed,
    /// The TLS connection was made with another host's certificate.
    Misdirected,
    /// The request body is larger than allowed.
    TooLarge,
    /// The client stopped sending in the middle of a request body.
    SilentClient,
}

/// A page's words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    pub(super) title: &'static str,
    pub(super) detail: &'static str,
}

impl Answer {
    /// All of them, for tests and for clearing up metric series.
    pub const ALL: [Self; 12] = [
        Self::UnknownAddress,
        Self::Suspended,
        Self::Restoring,
        Self::Unreachable,
        Self::BrokenAnswer,
        Self::SilentTenant,
        Self::Busy,
        Self::BadRequest,
        Self::MethodNotAllowed,
        Self::Misdirected,
        Self::TooLarge,
        Self::SilentClient,
    ];

    /// The status code.
    pub fn status(self) -> StatusCode {
        match self {
            Self::UnknownAddress => StatusCode::NOT_FOUND,
            Self::Suspended | Self::Restoring | Self::Unreachable | Self::Busy => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::BrokenAnswer => StatusCode::BAD_GATEWAY,
            Self::SilentTenant => StatusCode::GATEWAY_TIMEOUT,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SilentClient => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// One word for logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::UnknownAddress => "unknown_address",
            Self::Suspended => "suspended",
            Self::Restoring => "restoring",
            Self::Unreachable => "unreachable",
            Self::BrokenAnswer => "broken_answer",
            Self::SilentTenant => "silent_tenant",
            Self::Busy => "busy",
            Self::BadRequest => "bad_request",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Misdirected => "misdirected",
            Self::TooLarge => "too_large",
            Self::SilentClient => "silent_client",
        }
    }

    /// The `type` of the problem document, from the same small vocabulary that the CRM uses.
    pub(super) fn problem_type(self) -> &'static str {
        match self {
            Self::UnknownAddress => "not-found",
            Self::Suspended => "suspended",
            Self::Restoring | Self::Unreachable | Self::BrokenAnswer | Self::SilentTenant | Self::Busy => {
                "unavailable"
            }
            Self::TooLarge => "too-large",
            Self::BadRequest | Self::MethodNotAllowed | Self::Misdirected | Self::SilentClient => "invalid",
        }
    }

    /// After how many seconds trying again makes sense, where it does. A suspension ends when people say so.
    pub(super) fn retry_after_seconds(self) -> Option<u16> {
        match self {
            Self::Suspended => Some(600),
            Self::Restoring => Some(30),
            Self::Unreachable | Self::BrokenAnswer | Self::SilentTenant | Self::Busy => Some(5),
            _ => None,
        }
    }

    /// Whether the page tries again by itself.
    pub(super) fn comes_back(self) -> bool {
        self == Self::Restoring || self.is_fault()
    }

    /// Whether an operator of the platform wants to see it in the log.
    pub(super) fn is_fault(self) -> bool {
        matches!(self, Self::Unreachable | Self::BrokenAnswer | Self::SilentTenant | Self::Busy)
    }

    pub(super) fn words(self, locale: Locale) -> Words {
        let (zh, en) = match self {
            Self::UnknownAddress => (
                Words {
                    title: "没有这个地址",
                    detail: "请检查网址是否输入正确。如果网址是别人给您的，请向对方确认。",
                },
                Words {
                    title: "There is nothing at this address",
                    detail: "Please check it for typing mistakes. If somebody gave it to you, ask them again.",
                },
            ),
            Self::Suspended => (
                Words {
                    title: "服务已暂停",
                    detail: "这个工作区目前停用，数据仍然保留。如需恢复，请联系贵公司的管理员或服务提供方。",
                },
                Words {
                    title: "This workspace is suspended",
                    detail: "Its data is kept. To have it opened again, ask your administrator or your provider.",
                },
            ),
            Self::Restoring => (
                Words {
                    title: "正在恢复数据",
                    detail: "这个工作区正在从备份恢复，完成后会自动打开。请稍候，无需任何操作。",
                },
                Words {
                    title: "This workspace is being restored",
                    detail: "Its data is coming back from a backup. This page opens it by itself when that is done.",
                },
            ),
            Self::Unreachable | Self::BrokenAnswer | Self::SilentTenant | Self::Busy => (
                Words {
                    title: "暂时无法访问", detail: "系统可能正在启动或维护，请稍后再试。"
                },
                Words {
                    title: "Not reachable right now",
                    detail: "The system may be starting or under maintenance. Please try again in a moment.",
                },
            ),
            Self::TooLarge => (
                Words { title: "文件太大", detail: "发送的内容超过了允许的大小。" },
                Words { title: "Too large", detail: "What was sent is larger than allowed." },
            ),
            Self::BadRequest | Self::MethodNotAllowed | Self::Misdirected | Self::SilentClient => (
                Words { title: "无法处理这个请求", detail: "请重新打开页面再试一次。" },
                Words { title: "This request cannot be handled", detail: "Please open the page again." },
            ),
        };
        match locale {
            Locale::ZhCn => zh,
            Locale::En => en,
        }
    }
}

/// The language to answer in when no tenant is known: Chinese unless the client prefers something else.
pub(super) fn preferred_locale(accept_language: Option<&str>) -> Locale {
    let best = accept_language
        .unwrap_or_default()
        .split(',')
        .filter_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let language = parts.next().filter(|it| !it.is_empty())?;
            let weight =
                parts.find_map(|it| it.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok())?;
            Some((language, weight))
        })
        // Of equals the first one wins, so `max_by`, which takes the last one, does not fit.
        .fold(None, |best: Option<(&str, f32)>, (language, weight)| match best {
            Some((_, best_weight)) if best_weight >= weight => best,
            _ => Some((language, weight)),
        });
    match best {
        Some((language, _)) if !is_chinese(language) && language != "*" => Locale::En,
        _ => Locale::ZhCn,
    }
}

fn is_chinese(language: &str) -> bool {
    language.split('-').next().is_some_and(|primary| primary.eq_ignore_ascii_case("zh"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, Locale::ZhCn)]
    #[case(Some(""), Locale::ZhCn)]
    #[case(Some("*"), Locale::ZhCn)]
    #[case(Some("zh-TW,en;q=0.8"), Locale::ZhCn)]
    #[case(Some("en-US,en;q=0.9,zh;q=0.8"), Locale::En)]
    #[case(Some("en;q=0.5, zh-CN;q=0.9"), Locale::ZhCn)]
    #[case(Some("de"), Locale::En)]
    #[case(Some("zh;q=x, en"), Locale::En)]
    fn the_clients_language_where_no_tenant_is_known(#[case] header: Option<&str>, #[case] expected: Locale) {
        assert_eq!(preferred_locale(header), expected);
    }

    #[test]
    fn labels_are_distinct() {
        let labels: std::collections::BTreeSet<_> = Answer::ALL.iter().map(|it| it.label()).collect();
        assert_eq!(labels.len(), Answer::ALL.len());
    }
}
