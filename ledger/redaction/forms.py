r"""The forms of secrets that are looked for in texts: keys by their prefixes, headers, addresses, names.

A form is a pattern for RE2, which takes time in proportion to the text whatever the two are; with group 1 that is
the secret, else the whole match is. Every pattern is written so that no more than a bounded number of bytes after a
match was read to find it, because the next match is sought from its end.

Source: what the providers document, or say of their keys to secret scanners; `docs/redaction.md` lists the forms.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Form:
    """One form: the kind that `data.redacted` names, its pattern, and what a text has in it if it can match.

    `sign` is a pattern too, for one pass over a whole event. For forms that ordinary words can have, `accept`
    judges what was found, and `after` has to be found in the same line before it.
    """

    kind: str
    pattern: str
    sign: str
    accept: Callable[[bytes], bool] | None = None
    after: str | None = None


def _has_digit(secret: bytes) -> bool:
    return any(48 <= byte <= 57 for byte in secret)


def _looks_made(secret: bytes) -> bool:
    """Tell what a generator made from words: digits, or capitals inside."""
    return _has_digit(secret) or not (secret.islower() or secret.isupper() or secret.istitle())


def _looks_random(secret: bytes) -> bool:
    """Tell letters of both cases with digits among them from words, counters and hexadecimal digests."""
    return _has_digit(secret) and any(65 <= b <= 90 for b in secret) and any(97 <= b <= 122 for b in secret)


def is_mixed(secret: bytes) -> bool:
    """Tell what has both letters and digits, as no count and no word has."""
    return _has_digit(secret) and any(65 <= byte <= 90 or 97 <= byte <= 122 for byte in secret)


def is_basic(secret: bytes) -> bool:
    """Tell whether this is the Base64 of a user, a colon and a password."""
    try:
        text = base64.b64decode(secret + b"=" * (-len(secret) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    return b":" in text and all(byte >= 32 for byte in text)


_ID: Final = r"[A-Za-z0-9_-]"
_ALNUM: Final = r"[A-Za-z0-9]"
_HEX: Final = r"[0-9a-fA-F]"

STRONG_WORDS: Final = (
    r"secret[ _-]?(?:string|binary)|"
    r"passw(?:or)?ds?|passwd|passphrases?|passcode|pwd|passwort|kennwort|contraseña|密码|口令|密钥"
    r"|(?:db|database|user|smtp|mail|ftp|sftp|admin|root|pg|postgres|mysql|redis|rabbitmq|mongo|proxy|login)[_-]?pass"
    r"|(?:client|app|shared|consumer|webhook|signing|api|token|auth)[ _.-]?secret"
    r"|(?:api|secret|private|account|shared|shared[ _-]?access|storage|encryption|decryption|signing|master|auth"
    r"|deploy|service|subscription|client|app(?:lication)?|consumer|hmac|webhook|ssh|rsa|license|ingest(?:ion)?"
    r"|integration|sas|write|admin|function|host|x-functions)[ _.-]?key"
    r"|secret[ _.-]?access[ _.-]?key|access[ _.-]?key|secret[ _-]?key[ _-]?base|_auth|x-vault-token|totp|otp|cvv"
)
WEAK_WORDS: Final = r"secrets?|tokens?|credentials?"
"""How a name ends that says that its value is a secret; the weak words have other meanings in prose."""

# kind: the alternatives after a word boundary, each beginning with letters that nothing else begins with
_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "adobe_key": (rf"p8e-{_ALNUM}{{32}}",),
    "age_key": (r"AGE-SECRET-KEY-1[A-Za-z0-9]{20,}",),
    "airtable_token": (rf"pat{_ALNUM}{{14}}\.{_HEX}{{64}}",),
    "alibaba_key": (rf"LTAI{_ALNUM}{{12,24}}",),
    "artifactory_key": (rf"AKCp{_ALNUM}{{60,}}", rf"cmVmdGtu{_ALNUM}{{50,}}"),
    "asana_token": (r"[12]/[0-9]{10,20}(?:/[0-9]{10,20})?:[0-9a-f]{32}",),
    "atlassian_token": (rf"AT[AC]TT3{_ID}{{20,}}=?{_HEX}{{0,8}}", rf"ATBB{_ALNUM}{{24,}}"),
    "aws_key_id": (r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b", r"ABSK[A-Za-z0-9+/]{100,}={0,2}"),
    "azure_secret": (r"[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}",),
    "buildkite_token": (rf"bk[a-z]{{2}}_{_ALNUM}{{30,}}",),
    "clojars_token": (rf"CLOJARS_{_ALNUM}{{60}}",),
    "cloudflare_key": (rf"v1\.0-{_HEX}{{24}}-{_HEX}{{100,}}",),
    "crates_token": (rf"cio{_ALNUM}{{32}}\b",),
    "dagster_token": (r"agent:[A-Za-z0-9_-]{1,64}:[0-9a-f]{32}\b",),
    "databricks_token": (r"d(?:api|kea|ose|sapi)[0-9a-f]{32}(?:-[0-9]{1,2})?",),
    "dbt_token": (rf"dbt[cu]_{_ID}{{20,}}=*",),
    "digitalocean_token": (r"do[oprt]_v1_[0-9a-f]{32,}",),
    "discord_token": (rf"[MNO]{_ID}{{23,27}}\.{_ID}{{6}}\.{_ID}{{27,}}",),
    "docker_token": (rf"dckr_(?:pat|oat)_{_ID}{{20,}}",),
    "doppler_token": (r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9_.-]{20,}",),
    "dropbox_token": (rf"sl\.(?:u\.)?{_ID}{{60,}}",),
    "easypost_key": (rf"EZ[AT]K{_ALNUM}{{54}}",),
    "facebook_token": (rf"EAA[MC]{_ALNUM}{{90,}}",),
    "figma_token": (rf"fig[dou][hr]?_{_ID}{{20,}}",),
    "fly_token": (rf"fo1_{_ID}{{30,}}", r"fm[12][ar]?_[A-Za-z0-9+/]{60,}={0,2}"),
    "github_token": (rf"gh[pousr]_{_ALNUM}{{36,}}", r"github_pat_[A-Za-z0-9_]{22,}"),
    "gitlab_token": (
        r"gl(?:pat|dt|rt|rtr|cbt|ptt|ft|imt|agent|oas|soat|ffct)-[A-Za-z0-9_.-]{20,}",
        rf"GR1348941{_ID}{{20}}",
    ),
    "google_key": (
        rf"AIza{_ID}{{35}}",
        rf"GOCSPX-{_ID}{{20,}}",
        rf"ya29\.{_ID}{{20,}}",
        rf"1//0{_ID}{{30,}}",
        rf"4/0A{_ID}{{30,}}",
    ),
    "grafana_token": (
        rf"glsa_{_ALNUM}{{32}}_{_HEX}{{8}}",
        r"glc_[A-Za-z0-9+/=_-]{32,}",
        r"eyJrIjoi[A-Za-z0-9]{30,}={0,2}",
    ),
    "groq_key": (rf"gsk_{_ALNUM}{{40,}}",),
    "heroku_key": (rf"HRKU-{_ID}{{36,}}",),
    "hubspot_token": (r"pat-(?:na|eu|ap)[0-9]-[0-9a-f-]{36}",),
    "huggingface_token": (rf"hf_{_ALNUM}{{20,}}", rf"api_org_{_ALNUM}{{30,}}"),
    "linear_key": (rf"lin_(?:api|oauth|wh)_{_ALNUM}{{20,}}",),
    "mailchimp_key": (r"[0-9a-f]{32}-us[0-9]{1,2}\b",),
    "mailgun_key": (r"key-[0-9a-f]{32}\b", r"[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}\b"),
    "netlify_token": (rf"nf[pcb]_{_ALNUM}{{36,}}",),
    "newrelic_key": (r"NR(?:AK|RA|IQ|SP|BR)-[A-Z0-9]{26,32}\b", rf"NRII-{_ID}{{32}}", rf"{_HEX}{{36}}NRAL\b"),
    "notion_token": (rf"ntn_{_ALNUM}{{40,}}", rf"secret_{_ALNUM}{{40,}}"),
    "npm_token": (rf"npm_{_ALNUM}{{30,}}",),
    "nuget_key": (r"oy2[a-z0-9]{43}\b",),
    "onepassword_token": (r"ops_eyJ[A-Za-z0-9+/_=-]{40,}", r"A3-[A-Z0-9]{6}-[A-Z0-9]{6}(?:-?[A-Z0-9]{5}){4}\b"),
    "openshift_token": (rf"sha256~{_ID}{{43}}",),
    "pagerduty_key": (rf"[uy]\+{_ID}{{18}}\b",),
    "paypal_token": (r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}",),
    "perplexity_key": (rf"pplx-{_ALNUM}{{40,}}",),
    "planetscale_token": (r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.-]{20,}",),
    "postman_key": (rf"PMAK-{_HEX}{{24}}-{_HEX}{{34}}",),
    "prefect_key": (rf"pn[ub]_{_ALNUM}{{36}}\b",),
    "pulumi_token": (r"pul-[0-9a-f]{40}\b",),
    "readme_key": (r"rdme_[a-z0-9]{60,}",),
    "replicate_token": (rf"r8_{_ALNUM}{{37,}}",),
    "rubygems_key": (r"rubygems_[0-9a-f]{48}\b",),
    "sendgrid_key": (rf"SG\.{_ID}{{16,40}}\.{_ID}{{16,}}",),
    "sendinblue_key": (r"xkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16}",),
    "sentry_token": (r"sntrys_eyJ[A-Za-z0-9+/=_-]{40,}", r"sntryu_[0-9a-f]{64}"),
    "shippo_token": (r"shippo_(?:live|test)_[0-9a-f]{40}",),
    "shopify_token": (rf"shp(?:at|ca|pa|ss|ua)_{_HEX}{{32}}",),
    "slack_token": (
        r"xox[a-z](?:\.xox[bp])?-[A-Za-z0-9-]{10,}",
        r"xapp-[0-9]-[A-Za-z0-9-]{10,}",
        r"xwfp-[A-Za-z0-9-]{10,}",
    ),
    "square_token": (rf"sq0[a-z]{{3}}-{_ID}{{22,}}", rf"EAAA{_ID}{{60}}\b"),
    "stripe_key": (rf"[prs]k_(?:live|test|prod)_{_ALNUM}{{16,}}", r"whsec_[A-Za-z0-9+/=]{24,}"),
    "supabase_key": (r"sbp_[0-9a-f]{40}", rf"sb_secret_{_ID}{{20,}}"),
    "tailscale_key": (r"tskey-[A-Za-z0-9-]{20,}",),
    "telegram_token": (rf"[0-9]{{8,10}}:AA{_ID}{{32,34}}",),
    "tencent_key": (rf"AKID{_ALNUM}{{28,36}}\b",),
    "terraform_token": (rf"{_ALNUM}{{14}}\.atlasv1\.[A-Za-z0-9_=-]{{40,}}",),
    "twilio_key": (r"SK[0-9a-f]{32}\b",),
    "twitter_token": (r"A{20,22}[A-Za-z0-9%]{60,}",),
    "typeform_token": (r"tfp_[A-Za-z0-9_.=-]{40,}",),
    "vault_token": (rf"hv[bsr]\.{_ID}{{20,}}",),
    "xai_key": (rf"xai-{_ALNUM}{{60,}}",),
}
KEYS: Final = tuple(_KEYS)
_EDGE: Final = r"(?:\b|\\[nrtbf]|\\u[0-9a-f]{4}|\\x[0-9a-f]{2})"
"""Where a key may begin: at a word's edge, or after the escape of a character inside quoted text."""

_COUNTED: Final = re.compile(r"\{([0-9]+)(?:,[0-9]*)?\}")
_CLASS: Final = re.compile(r"\[[^\]]*\]|\\.|[?:()|]")


def _beginning(pattern: str) -> str:
    """Return the beginning of a key's pattern, up to where a long count begins: it compiles in a tenth of the time.

    A pattern without three letters of its own before that is returned whole, for it would begin in any word.
    """
    counted = next((each for each in _COUNTED.finditer(pattern) if int(each[1]) > _FEW), None)
    if counted is None or len(_CLASS.sub("", pattern[: counted.start()])) < 3:
        return pattern
    return f"{pattern[: counted.start()]}{{{_FEW}}}"


_FEW: Final = 8

KEY_PATTERN: Final = f"{_EDGE}(?:{'|'.join(f'({chr(124).join(texts)})' for texts in _KEYS.values())})"
"""One pattern for all keys with a group for each kind, in the order of `KEYS`."""

KEY_SIGN: Final = f"{_EDGE}(?:{'|'.join(_beginning(text) for texts in _KEYS.values() for text in texts)})"
"""What is in a text in which `KEY_PATTERN` finds anything."""

_TO_END: Final = r"(?:-----END [A-Z ]{0,32}PRIVATE KEY(?: BLOCK)?-----|\z)"

_SIGNED: Final = (
    r"(?:sig|signature|x-(?:amz|goog|ms|oss)-(?:signature|credential|security-token)|awsaccesskeyid|googleaccessid"
    r"|security-token|ossaccesskeyid|credential|hmac)(?:=|%3d)([^\s\"'`<>&,;\\]+)"
)
_SIGNED_SIGN: Final = (
    r"(?i:sig(?:nature)?(?:=|%3d)|x-(?:amz|goog|ms|oss)-|accesskeyid|accessid|security-token|credential"
    r"|hmac(?:=|%3d))"
)

FORMS: Final = (
    Form(
        "private_key",
        rf"(?s)-----BEGIN [A-Z ]{{0,32}}PRIVATE KEY(?: BLOCK)?-----.*?{_TO_END}",
        r"-----BEGIN [A-Z ]{0,32}PRIVATE",
    ),
    Form("private_key", r"(?s)Private-Lines: ?[0-9]+.*?(?:Private-MAC: ?[0-9a-f]+|\z)", r"Private-Lines"),
    Form(
        "jwt",
        rf"{_EDGE}(eyJ{_ID}{{8,}}\.{_ID}{{8,}}(?:\.{_ID}*){{1,3}})",
        r"eyJ",
    ),
    Form(
        "authorization",
        r"[\\\"']_?auth[\\\"']{1,16}\s{0,8}:\s{0,8}[\\\"']{1,16}([A-Za-z0-9+/]{6,}={0,2})",
        r"(?i:auth[\\\"'])",
        is_basic,
    ),
    Form(
        "assignment",
        rf"(?i)<[A-Za-z0-9_:.-]{{0,64}}(?:{STRONG_WORDS}|{WEAK_WORDS})(?:\s[^<>]{{0,200}})?>([^<>]+)</",
        rf"(?i:{STRONG_WORDS}|{WEAK_WORDS})",
    ),
    Form(
        "authorization",
        rf"(?i){_EDGE}auth[\\\"']{{0,16}}\s{{0,8}}[=:]\s{{0,8}}[\[(]\s{{0,8}}[\\\"']{{1,16}}[^\"'\\]{{1,128}}[\\\"']{{1,16}}"
        r"\s{0,8},\s{0,8}[\\\"']{1,16}([^\"'\\]+)",
        r"(?i:auth[\\\"'=: ])",
    ),
    Form(
        "assignment",
        r"(?i)(?:^|[\s\"'(,;&?]|--|\\[nrt])pass[\\\"']{0,16}(?:\s{0,8}[=:]\s{0,8}|\s)[\\\"']{0,16}([^\s\"',;&)\\]{4,})",
        r"(?i:pass[\\\"'=:\s])",
        is_mixed,
    ),
    Form(
        "assignment",
        r"fs\.azure\.(?:account\.key|sas)\.[A-Za-z0-9_.-]{1,200}[\\\"']{0,16}\s{0,8}[=: ]\s{0,8}"
        r"[\\\"']{0,16}([^\s\"',;\\]+)",
        r"fs\.azure\.",
    ),
    Form("bearer_token", rf"(?i){_EDGE}bearer\s{{1,8}}([A-Za-z0-9._~+/=-]{{16,}})", r"(?i:bearer)"),
    Form("authorization", rf"(?i){_EDGE}basic\s{{1,8}}([A-Za-z0-9+/]{{6,}}={{0,2}})", r"(?i:basic)", is_basic),
    Form(
        "authorization",
        f"(?i){_EDGE}"
        r"authorization[\\\"'`\]]{0,16}\s{0,8}(?:=>|[:=]|,)\s{0,8}[\\\"'`\[]{0,16}"
        r"(?:basic|digest|token|bearer|apikey|api-key|negotiate|ntlm|key|splunk|sso-key|genie-?key)"
        r"(?:\s{1,8}|%20)([^\"'`\r\n\\]+)",
        r"(?i:authorization)",
    ),
    Form(
        "authorization",
        f"(?i){_EDGE}"
        r"authorization[\\\"'`\]]{0,16}\s{0,8}(?:=>|[:=]|,)\s{0,8}[\\\"'`\[]{0,16}([A-Za-z0-9._~+/=:-]{12,})",
        r"(?i:authorization)",
        _looks_made,
    ),
    Form(
        "cookie",
        f"(?i){_EDGE}"
        r"cookie2?[\\\"'`\]]{0,16}\s{0,8}(?:=>|[:=]|,)\s{0,8}[\\\"'`\[]{0,16}([A-Za-z0-9_.-]{1,64}=[^\"'`\r\n\\]+)",
        r"(?i:cookie)",
    ),
    Form("signed_url", rf"(?i)(?:[?&]|amp;|%26|%3f){_SIGNED}", _SIGNED_SIGN),
    Form("signed_url", rf"(?i)(?:[; ,]|^){_SIGNED}", _SIGNED_SIGN, _looks_made),
    Form(
        "signed_url",
        r"(?i)[?&](?:key|code|auth|subscription-key|sas|jwt|state|ticket|assertion)=([A-Za-z0-9._~%+/=-]{16,})",
        r"(?i:[?&](?:key|code|auth|subscription-key|sas|jwt|state|ticket|assertion)=)",
        _looks_made,
    ),
    Form(
        "webhook",
        r"(?i)(?:hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/|discord(?:app)?\.com/api/(?:v[0-9]+/)?webhooks/[0-9]{5,25}/"
        r"|\.webhook\.office\.com/webhookb2/|outlook\.office\.com/webhook/|hooks\.zapier\.com/hooks/catch/|maker\.ifttt\.com/trigger/[^\s/]{1,64}/with/key/"
        r"|chat\.googleapis\.com/v1/spaces/[^\s/]{1,64}/messages\?|api\.telegram\.org/bot|logic\.azure\.com[^\s\"']{0,200}[?&]sig=)([^\s\"'`<>\\]+)",
        r"(?i:hooks\.slack|discord(?:app)?\.com/api|\.office\.com/webhook|hooks\.zapier|maker\.ifttt|chat\.googleapis|api\.telegram|logic\.azure)",
    ),
    Form("url_password", r"https?://([A-Za-z0-9_-]{20,})@", r"https?://[A-Za-z0-9_-]{20,}@", _has_digit),
    Form(
        "url_password",
        r"(?i)jdbc:oracle:[a-z]{2,8}:[^\s/@\"']{1,64}/([^\s@\"']{1,256})@",
        r"(?i:jdbc:oracle)",
    ),
    Form(
        "url_password",
        r"(?m)(?:^|[\s\"'`]|\\[nrt])[A-Za-z0-9_.*-]{1,255}:(?:[0-9]{4,5}|\*)"
        r":[^:\s]{1,64}:[^:\s]{1,64}:([^\s:\"'`\\]+)(?:[ \t\r]{0,8}$|[\"'`\\])",
        r":(?:[0-9]{4,5}|\*):",
    ),
    Form(
        "named_secret",
        rf"(?i){_EDGE}(?:machine\s+\S{{1,255}}|default)\s+login\s+\S{{1,255}}\s+password\s+(\S+)",
        r"(?i:login\s)",
    ),
    Form(
        "named_secret",
        r"\s-p ?[\\\"']{0,4}([^\s\"'\\-][^\s\"'\\]*)",
        r"(?i:mysql|mariadb|sshpass|mongo|cypher-shell|clickhouse-client|\slogin\s)",
        after=rf"(?i)(?:{_EDGE}(?:mysql[a-z]*|mariadb[a-z-]*|sshpass|mongo[a-z]*|cypher-shell|clickhouse-client)"
        rf"|{_EDGE}(?:docker|podman|helm|az|oc|skopeo|buildah|snow|argocd) (?:registry )?login)\b",
    ),
    Form(
        "named_secret",
        r"\s-P ?[\\\"']{0,4}([^\s\"'\\-][^\s\"'\\]*)",
        r"sqlcmd|bcp|isql",
        after=rf"{_EDGE}(?:sqlcmd|bcp|isql)\b",
    ),
    Form("named_secret", r"\s-a ?[\\\"']{0,4}([^\s\"'\\-][^\s\"'\\]*)", r"redis-cli", after=r"redis-cli\b"),
    Form(
        "named_secret",
        r"\s(?:-u|--user|--proxy-user|-U|-a|--auth)[ =]?[\\\"']{0,4}[^\s:\"'\\]{1,128}:([^\s\"'\\]+)",
        r"curl|wget|https? |ldapsearch",
        after=rf"{_EDGE}(?:curl|wget|https?|ldapsearch)\b",
    ),
    Form(
        "named_secret",
        rf"(?i){_EDGE}identified\s+(?:with\s+\S{{1,64}}\s+)?by\s+(?:password\s+)?[\\\"']{{1,8}}([^\"'\\]+)",
        r"(?i:identified\s)",
    ),
    Form("sk_key", rf"{_EDGE}(sk-(?:proj|ant|or|svcacct|admin|live|test|lf)[A-Za-z0-9_-]{{16,}})", r"sk-[a-z]"),
    Form("sk_key", rf"{_EDGE}(sk-[A-Za-z0-9]{{20,}}[A-Za-z0-9_-]*)", r"sk-[A-Za-z0-9]{20}"),
    Form("sk_key", rf"{_EDGE}(sess-[A-Za-z0-9]{{40}})\b", r"sess-"),
    Form("pypi_token", rf"{_EDGE}(pypi-[A-Za-z0-9_-]{{16,}})", r"pypi-", _looks_random),
    Form("vault_token", rf"{_EDGE}(s\.[A-Za-z0-9]{{24}})\b", r"s\.[A-Za-z0-9]{24}", _looks_random),
)

SIGN: Final = "|".join(
    [
        KEY_SIGN,
        rf"(?i:{STRONG_WORDS}|{WEAK_WORDS})",
        r"://[^\s\"'<>]*@",
        *dict.fromkeys(form.sign for form in FORMS),
    ]
)
"""What is in a text, or in its JSON, if there can be any secret in it."""
