"""Secrets in the forms in which people and providers write them, and ordinary texts that have none.

A secret stands between ⟦ and ⟧. `{a36}` is 36 letters and digits, `{h32}` 32 hexadecimal digits, `{u…}` capitals
and digits, `{w…}` letters, digits, `-` and `_`: made here, so that no scanner takes this file for a leak.
`python -m tests.trust.secret_samples` writes docs/redaction.md again.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from run_evidence.ledger.redaction.find import find_secrets

PAGE: Final = Path(__file__).parents[2] / "docs" / "redaction.md"

_ALPHABETS: Final = {
    "a": "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789",
    "h": "0123456789abcdef",
    "u": "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
    "w": "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-_",
    "d": "123456789",
}
_HOLE: Final = re.compile(r"\{([ahuwd])([0-9]+)\}")

SAMPLES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "Values whose names say so": (
        ("assignment", "password=⟦hunter2⟧"),
        ("assignment with a colon", "DB_PASSWORD: ⟦s3cret!⟧"),
        ("quoted, with spaces", "passphrase = '⟦correct horse battery⟧' # old"),
        ("camelCase", "dbPassword=⟦hunter2⟧, user=me"),
        ("capitals", "export PGPASSWORD=⟦hunter2⟧"),
        ("several words", "aws_secret_access_key = ⟦{a40}⟧"),
        ("with a stage after it", "DB_PASSWORD_PROD=⟦hunter2⟧"),
        ("API key", "api_key='⟦abcdef⟧'"),
        ("API key, camelCase", "apiKey: ⟦{a12}⟧"),
        ("access key", "access-key=⟦{a12}⟧"),
        ("client secret", "client_secret=⟦{a12}⟧"),
        ("token", "token=⟦{a12}⟧"),
        ("session token", "AWS_SESSION_TOKEN=⟦{a60}⟧"),
        ("credential", "credential=⟦{a12}⟧"),
        ("number", "password=⟦12345⟧"),
        ("YAML", "db:\n  user: me\n  password: ⟦hunter2⟧\n"),
        ("YAML block", "password: |\n  ⟦hunter2⟧\n"),
        ("TOML", 'token = "⟦{a12}⟧"'),
        ("Python keyword", "connect(user='me', password='⟦hunter2⟧')"),
        ("Python dictionary", "{'user': 'me', 'password': '⟦hunter 2⟧'}"),
        ("Python call", "Config(password=⟦SecretStr('hunter2')⟧)"),
        ("Ruby, PHP", "'password' => '⟦hunter2⟧'"),
        ("Go", 'password := "⟦hunter2⟧"'),
        ("dotenv in one line", "A=1\\nDB_PASSWORD=⟦hunter2⟧\\nB=2"),
        ("percent-encoded", "user%3Dme%26password%3D⟦hunter2⟧%26x%3D1"),
        ("HTML-escaped", "&quot;password&quot;:&quot;⟦hunter2⟧&quot;"),
        ("XML element", "<db><password>⟦hunter2⟧</password></db>"),
        ("XML attribute", '<db user="me" password="⟦hunter2⟧"/>'),
        ("XML pair", '<add key="Password" value="⟦hunter2⟧"/>'),
        ("bare pass", "user:me pass:⟦hunter2⟧"),
        ("escaped sign", "password\\u003d⟦hunter2⟧"),
        ("Spark and Azure", "fs.azure.account.key.x.dfs.core.windows.net ⟦{a40}==⟧"),
        ("Python tuple", "get(url, auth=('me', '⟦hunter2⟧'))"),
        ("query parameter", "https://api.example.com/v1?access_token=⟦{a12}⟧&page=2"),
        ("HTTP header", "X-Api-Key: ⟦{a12}⟧"),
        ("Vault header", "X-Vault-Token: ⟦{a12}⟧"),
        ("Chinese", "密码：⟦hunter2⟧"),
        ("German", "Passwort: ⟦hunter2⟧"),
        ("value with a comma", "password=⟦hun,ter2⟧, user=me"),
        ("value with brackets", "password=⟦hun(ter)2⟧ user=me"),
    ),
    "JSON in a text": (
        ("member", '{"user": "me", "password": "⟦hunter2⟧"}'),
        ("member without spaces", '{"password":"⟦hunter2⟧","a":1}'),
        ("escaped member", '{\\"user\\": \\"me\\", \\"password\\": \\"⟦hunter2⟧\\"}'),
        ("twice escaped member", '{\\\\\\"password\\\\\\": \\\\\\"⟦hunter2⟧\\\\\\"}'),
        ("value with an escaped quote", '{"password": "⟦hun\\"ter2⟧", "a": 1}'),
        ("number", '{"password": ⟦12345⟧, "a": 1}'),
        ("list", '{"passwords": ⟦["hunter2", "hunter3"]⟧, "a": 1}'),
        ("object", '{"secret": ⟦{"a": "hunter2", "b": ["x"]}⟧, "a": 1}'),
        ("name and value", '[{"name": "DB_PASSWORD", "value": "⟦hunter2⟧"}]'),
        ("escaped name and value", '{\\"name\\": \\"DB_PASSWORD\\", \\"value\\": \\"⟦hunter2⟧\\"}'),
        ("arguments", '["psql", "--password", "⟦hunter2⟧"]'),
        ("broken off", '{"password": "⟦hunter2⟧'),
        (
            "service account",
            '{"private_key": "⟦-----BEGIN PRIVATE ' + 'KEY-----\\nMIIE\\n-----END PRIVATE KEY-----\\n⟧"}',
        ),
    ),
    "Command lines": (
        ("option", "tool --password ⟦hunter2⟧ --verbose"),
        ("option with =", "tool --db-password=⟦hunter2⟧"),
        ("option, short for password", "tool --pass ⟦hunter2⟧"),
        ("option, quoted", "tool --token '⟦{a12}⟧'"),
        ("API key option", "tool --api-key ⟦{a12}⟧"),
        ("PowerShell", "Connect -Password ⟦hunter2⟧ -User me"),
        ("mysql", "mysql -u root -p⟦hunter2⟧ shop"),
        ("sshpass", "sshpass -p ⟦hunter2⟧ ssh host"),
        ("docker login", "docker login -u me -p ⟦hunter2⟧ registry.example.com"),
        ("redis-cli", "redis-cli -h cache -a ⟦hunter2⟧ ping"),
        ("sqlcmd", "sqlcmd -S host -U sa -P ⟦hunter2⟧"),
        ("curl user", "curl -u me:⟦hunter2⟧ https://example.com"),
        ("curl user, long", "curl --user 'me:⟦hunter2⟧' https://example.com"),
        ("curl header", "curl -H 'Authorization: Bearer ⟦{a24}⟧' https://example.com"),
        ("SQL identified by", "CREATE USER me IDENTIFIED BY '⟦hunter2⟧'"),
        ("SQL password", "ALTER ROLE me WITH PASSWORD '⟦hunter2⟧'"),
    ),
    "Headers": (
        ("bearer", "Authorization: Bearer ⟦{a36}⟧"),
        ("basic", "authorization: Basic ⟦dXNlcjpwYXNz⟧"),
        ("basic without the header's name", "sent 'Basic ⟦dXNlcjpwYXNzd29yZA==⟧'"),
        ("basic in JSON", '{"Authorization": "Basic ⟦dXNlcjpwYXNz⟧"}'),
        ("proxy", "Proxy-Authorization: Basic ⟦dXNlcjpwYXNz⟧"),
        ("token", "Authorization: Token ⟦{h20}⟧"),
        ("digest", "Authorization: Digest ⟦username=me, response={h32}⟧"),
        ("none of the known schemes", "Authorization: ⟦{a36}⟧"),
        ("cookie", "Cookie: ⟦session={a24}; theme=dark⟧"),
        ("set-cookie", "Set-Cookie: ⟦sid={a24}; Path=/; HttpOnly⟧"),
    ),
    "Addresses and connection strings": (
        ("password", "postgresql://app:⟦hunter2⟧@db.internal:5432/app?sslmode=on"),
        ("SQLAlchemy driver", "postgresql+psycopg2://app:⟦hunter2⟧@db/app"),
        ("Snowflake", "snowflake://me:⟦hunter2⟧@account/db/schema?warehouse=w"),
        ("no user", "redis://:⟦hunter2⟧@cache/0"),
        ("password with @", "postgresql://app:⟦p@ss⟧@db/app"),
        ("password with /", "postgresql://app:⟦pa/ss⟧@db/app"),
        ("password with both", "mysql://app:⟦p@ss/w@rd#1⟧@db:3306/app"),
        ("percent-encoded password", "https://me:⟦p%40ss⟧@host:8080/x"),
        ("several hosts", "mongodb://me:⟦hunter2⟧@h1:27017,h2:27017/db"),
        ("token as user", "https://⟦{a40}⟧@git.example.com/x.git"),
        ("Oracle", "jdbc:oracle:thin:scott/⟦tiger1⟧@host:1521:orcl"),
        ("JDBC parameter", "jdbc:sqlserver://host;user=me;password=⟦hunter2⟧;encrypt=true"),
        ("ODBC", "Driver=x;Server=h;UID=me;PWD=⟦hunter2⟧;"),
        ("ODBC in braces", "Driver={x};UID=me;Pwd=⟦{hun;ter2}⟧;Port=1"),
        ("ADO.NET", "Server=h;User Id=me;Password=⟦hunter2⟧;"),
        ("libpq", "host=db user=me password=⟦hunter2⟧ dbname=app"),
        ("Azure storage", "AccountName=x;AccountKey=⟦{a86}==⟧;EndpointSuffix=core.windows.net"),
        ("Azure service bus", "Endpoint=sb://x/;SharedAccessKeyName=n;SharedAccessKey=⟦{a43}=⟧"),
        ("Azure SAS", "https://x.blob.core.windows.net/c/f?sv=2022-11-02&sp=r&sig=⟦{a40}%3D⟧"),
        ("Azure SAS without address", "sv=2022-11-02&sr=c&sig=⟦{a40}%3D⟧"),
        ("AWS signed address", "https://b.s3.amazonaws.com/k?X-Amz-Expires=60&X-Amz-Signature=⟦{h64}⟧"),
        ("AWS credential in an address", "?X-Amz-Credential=⟦{u20}%2F20260417%2Feu⟧&X-Amz-Date=1"),
        ("AWS, older", "https://b.s3.amazonaws.com/k?AWSAccessKeyId=⟦{u20}⟧&Expires=1"),
        ("AWS signature", "https://b.s3.amazonaws.com/k?Expires=1&Signature=⟦{a27}%3D⟧"),
        ("Google signed address", "https://storage.googleapis.com/b/o?X-Goog-Signature=⟦{h64}⟧"),
        (".pgpass", "db.internal:5432:app:me:⟦hunter2⟧"),
        (".pgpass with wildcards", "*:*:*:me:⟦hunter2⟧"),
        ("netrc", "machine example.com login me password ⟦hunter2⟧"),
        (".npmrc", "//registry.example.com/:_authToken=⟦{a36}⟧"),
        ("docker config", '{"auths": {"r.example.com": {"auth": "⟦dXNlcjpwYXNzd29yZA==⟧"}}}'),
    ),
    "Private keys": (
        ("PEM", "⟦-----BEGIN RSA PRIVATE " + "KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----⟧"),
        ("PEM in one line", "⟦-----BEGIN PRIVATE " + "KEY-----\\nMIIE\\n-----END PRIVATE KEY-----⟧"),
        ("OpenSSH", "⟦-----BEGIN OPENSSH PRIVATE " + "KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----⟧"),
        ("PGP", "⟦-----BEGIN PGP PRIVATE KEY " + "BLOCK-----\nlQOY\n-----END PGP PRIVATE KEY BLOCK-----⟧"),
        ("broken off", "⟦-----BEGIN EC PRIVATE " + "KEY-----\nMIIE⟧"),
        ("PuTTY", "⟦Private-Lines: 1\n{a40}\nPrivate-MAC: {h40}⟧"),
        ("age", "⟦AGE-SECRET-KEY-1{u58}⟧"),
    ),
    "Keys with a provider's prefix": (
        ("1Password", "⟦ops_eyJ{a60}⟧"),
        ("Adobe", "⟦p8e-{a32}⟧"),
        ("Airtable", "⟦pat{a14}.{h64}⟧"),
        ("Alibaba Cloud", "⟦LTAI{a20}⟧"),
        ("Anthropic", "⟦sk-ant-api03-{w93}AA⟧"),
        ("Artifactory", "⟦AKCp{a69}⟧"),
        ("Asana", "⟦1/{d16}:{h32}⟧"),
        ("Atlassian", "⟦ATATT3{w180}={h8}⟧"),
        ("AWS key id", "⟦AKIA{u16}⟧"),
        ("AWS temporary key id", "⟦ASIA{u16}⟧"),
        ("Azure client secret", "⟦{a3}8Q~{a34}⟧"),
        ("Bitbucket", "⟦ATBB{a32}⟧"),
        ("Brevo", "⟦xkeysib-{h64}-{a16}⟧"),
        ("Buildkite", "⟦bkua_{h40}⟧"),
        ("Cloudflare origin", "⟦v1.0-{h24}-{h146}⟧"),
        ("crates.io", "⟦cio{a32}⟧"),
        ("Dagster agent", "⟦agent:my-org:{h32}⟧"),
        ("Databricks", "⟦dapi{h32}⟧"),
        ("dbt Cloud", "⟦dbtc_{w40}⟧"),
        ("DigitalOcean", "⟦dop_v1_{h64}⟧"),
        ("Discord", "⟦M{a23}.{a6}.{w27}⟧"),
        ("Docker Hub", "⟦dckr_pat_{w27}⟧"),
        ("Doppler", "⟦dp.pt.{a43}⟧"),
        ("Dropbox", "⟦sl.{w130}⟧"),
        ("EasyPost", "⟦EZAK{a54}⟧"),
        ("Figma", "⟦figd_{w40}⟧"),
        ("Fly.io", "⟦fo1_{w43}⟧"),
        ("GitHub", "⟦ghp_{a36}⟧"),
        ("GitHub app", "⟦ghs_{a36}⟧"),
        ("GitHub, fine-grained", "⟦github_pat_{a22}_{a59}⟧"),
        ("GitLab", "⟦glpat-{w20}⟧"),
        ("GitLab runner", "⟦glrt-{w20}⟧"),
        ("Google API", "⟦AIza{w35}⟧"),
        ("Google OAuth client", "⟦GOCSPX-{w28}⟧"),
        ("Google OAuth token", "⟦ya29.{w60}⟧"),
        ("Google refresh token", "⟦1//0{w60}⟧"),
        ("Grafana", "⟦glsa_{a32}_{h8}⟧"),
        ("Grafana Cloud", "⟦glc_eyJ{a60}⟧"),
        ("Groq", "⟦gsk_{a52}⟧"),
        ("Heroku", "⟦HRKU-{w60}⟧"),
        ("HubSpot", "⟦pat-na1-{h8}-{h4}-{h4}-{h4}-{h12}⟧"),
        ("Hugging Face", "⟦hf_{a34}⟧"),
        ("JSON Web Token", "⟦eyJ{a20}.eyJ{a30}.{w43}⟧"),
        ("JSON Web Token, encrypted", "⟦eyJ{a20}.{a30}.{a16}.{a30}.{a22}⟧"),
        ("Linear", "⟦lin_api_{a40}⟧"),
        ("Mailchimp", "⟦{h32}-us14⟧"),
        ("Mailgun", "⟦key-{h32}⟧"),
        ("Netlify", "⟦nfp_{a40}⟧"),
        ("New Relic", "⟦NRAK-{u27}⟧"),
        ("New Relic license", "⟦{h36}NRAL⟧"),
        ("Notion", "⟦ntn_{a46}⟧"),
        ("Notion, older", "⟦secret_{a43}⟧"),
        ("npm", "⟦npm_{a36}⟧"),
        ("OpenAI", "⟦sk-{a48}⟧"),
        ("OpenAI project", "⟦sk-proj-{w74}⟧"),
        ("OpenShift", "⟦sha256~{w43}⟧"),
        ("PagerDuty", "⟦u+{a18}⟧"),
        ("PayPal", "⟦access_token$production${h16}${h32}⟧"),
        ("Perplexity", "⟦pplx-{a48}⟧"),
        ("PlanetScale", "⟦pscale_tkn_{w43}⟧"),
        ("Postman", "⟦PMAK-{h24}-{h34}⟧"),
        ("Prefect", "⟦pnu_{a36}⟧"),
        ("Pulumi", "⟦pul-{h40}⟧"),
        ("PyPI", "⟦pypi-AgEIcHlwaS5vcmc{w80}⟧"),
        ("Replicate", "⟦r8_{a37}⟧"),
        ("RubyGems", "⟦rubygems_{h48}⟧"),
        ("SendGrid", "⟦SG.{w22}.{w43}⟧"),
        ("Sentry", "⟦sntryu_{h64}⟧"),
        ("Shippo", "⟦shippo_live_{h40}⟧"),
        ("Shopify", "⟦shpat_{h32}⟧"),
        ("Slack bot", "⟦xoxb-{d12}-{d12}-{a24}⟧"),
        ("Slack app", "⟦xapp-1-A{u10}-{d12}-{h64}⟧"),
        ("Slack configuration", "⟦xoxe.xoxp-1-{a60}⟧"),
        ("Square", "⟦sq0atp-{w22}⟧"),
        ("Stripe", "⟦sk_live_{a24}⟧"),
        ("Stripe, restricted", "⟦rk_test_{a24}⟧"),
        ("Stripe webhook", "⟦whsec_{a32}⟧"),
        ("Supabase", "⟦sbp_{h40}⟧"),
        ("Tailscale", "⟦tskey-auth-{a12}-{a32}⟧"),
        ("Telegram", "⟦{d10}:AA{w33}⟧"),
        ("Tencent Cloud", "⟦AKID{a32}⟧"),
        ("Terraform Cloud", "⟦{a14}.atlasv1.{w67}⟧"),
        ("Twilio", "⟦SK{h32}⟧"),
        ("Typeform", "⟦tfp_{w59}⟧"),
        ("Vault", "⟦hvs.{w90}⟧"),
        ("Vault, older", "⟦s.{a24}⟧"),
        ("xAI", "⟦xai-{a80}⟧"),
    ),
    "Addresses that are a secret": (
        ("Slack webhook", "https://hooks.slack.com/services/⟦T{u8}/B{u8}/{a24}⟧"),
        ("Discord webhook", "https://discord.com/api/webhooks/{d18}/⟦{w68}⟧"),
        ("Teams webhook", "https://x.webhook.office.com/webhookb2/⟦{h8}@{h8}/IncomingWebhook/{h32}⟧"),
        ("Zapier hook", "https://hooks.zapier.com/hooks/catch/⟦{d7}/{a7}⟧"),
        ("Telegram bot", "https://api.telegram.org/bot⟦{d10}:AA{w33}⟧/getMe"),
    ),
    "Forms without a mark of their own": (
        ("a password in a sentence", "the password is ⟦hunter2⟧"),
        ("a key without prefix or name", "using ⟦{h32}⟧"),
        ("AWS secret key without its name", "⟦{a40}⟧"),
        ("Base64 of a whole configuration", "⟦cGFzc3dvcmQ9aHVudGVyMg==⟧"),
        ("a password below a column's name", "user,password\nme,⟦hunter2⟧"),
    ),
}
"""{heading: (form, text)}: what docs/redaction.md lists, hit or miss."""

INNOCENT: Final = (
    'Finished execution of step "week06__silver__ticket_fact" in 12ms.',
    "s3://bucket/prefix/2026-04-17/part-0.parquet",
    "abfss://container-2024-raw@account1234567890.dfs.core.windows.net/path",
    "https://example.com/a?b=c#d",
    "https://example.com:8080/users?email=ana@example.com",
    "http://localhost:3000/runs/0c7e1f6a-3b7d-4f8e-9a51-2f6d8c4b1e90",
    "mail ana@example.com about https://example.com",
    "git@github.com:org/repo.git",
    "postgresql://app:***@db/app",
    "postgresql://app:${DB_PASSWORD}@db/app",
    "postgresql://{user}:{password}@{host}/{db}",
    "mongodb://h1:27017,h2:27018/db",
    "0c7e1f6a-3b7d-4f8e-9a51-2f6d8c4b1e90",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "d670460b4b4aece5915caf5c68d12f560a9fe3e4",
    "5d41402abc4b2a76b9719d911017c592",
    "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
    "row_count: 17, token_count: 17, tokens: 512",
    '{"token_count": 5, "max_tokens": 512, "row_count": 3}',
    '{"primary_key": "id", "partition_key": "2026-04-17", "sort_key": "ts"}',
    "primary_key: id",
    "partition_key=2026-04-17",
    "foreign_key=orders.id unique_key=id asset_key=lake/orders",
    "public_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE",
    "key: value, keys: [a, b]",
    "the secretary passed the basic test",
    "passwordless login is on; the token bucket is full",
    "SyntaxError: Unexpected token: punc (})",
    "Unexpected token } in JSON at position 5",
    "error: invalid token: unexpected end of file",
    "Enter password: ",
    "password: null, token: None, secret: ''",
    "password=None token=${TOKEN} secret={{ env_var('X') }}",
    "password=******** user=me",
    "password_length=12 password_policy=strict password_changed_at=2026-04-17",
    "secret_name=db-creds token_type=bearer token_url=https://example.com",
    "next_page_token=abc pad_token=<pad> eos_token=</s>",
    "tokenizer=bert tokenization: done",
    "the following arguments are required: --password",
    "reading the token bucket, the secret sauce and the passing tests",
    "PWD=/opt/dagster/app HOME=/root",
    "GOOGLE_APPLICATION_CREDENTIALS=/etc/gcp/key.json",
    "mkdir -p /data/out && cp -p a b && docker run -p 8080:80 image",
    "basic statistics of the columns: min, max",
    "bearer of bad news",
    "task-1, disk-usage, sk-ip, sk-learn",
    "pypi-mirror, npm_config_registry, hf_datasets_cache",
    "week06__silver__ticket_fact__2026_04_17",
    "lake/orders@2026-04-17|eu",
    "2026-04-17T12:00:00.000Z",
    "10.0.0.1:5432",
    "pass: 12, fail: 0, skipped: 3",
    "first_pass=ok second_pass=ok",
    "cookie: chocolate",
    "authorization: granted",
    "author: Ana, authorized: yes",
    "sign=1 design=2 assignment=3",
    "signature=int, signature: (x: int) -> str",
    "the second pass took 3 s, pass 2 of 3, pass=ok, pass: true",
    "the auth=(none) header, auth: [oauth2]",
    "code=200 status=ok",
    "https://example.com/search?key=customer&code=de",
    "user,password,email",
    "SELECT password_hash IS NULL FROM users",
    "columns: id, token, secret, created_at",
    "Agent: Mozilla/5.0 (X11; Linux x86_64)",
    "ClassName.methodName:1234",
    "SG.analytics.orders",
    "dapi_version=3, dp.rows, s.column_name",
    "eyJhbGciOiJIUzI1NiJ9",
    "image@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "arn:aws:iam::123456789012:role/name",
    "版本：3，记录：17",
    "a" * 5_000,
)
"""Texts of ordinary data engineering, in which nothing is taken out."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A text, the secrets in it, and what it is an example of."""

    heading: str
    form: str
    text: str
    secrets: tuple[str, ...]

    @property
    def found(self) -> bool:
        """Whether no secret of the text is left when what was found in it is taken out."""
        rest, done = "", 0
        for first, last, _ in find_secrets(self.text):
            rest += self.text[done:first] + "\n"
            done = last
        rest += self.text[done:]
        return not any(secret in rest for secret in self.secrets)


def samples() -> list[Sample]:
    """Return every sample, the same at each call."""
    return [_sample(heading, form, marked) for heading, forms in SAMPLES.items() for form, marked in forms]


def _sample(heading: str, form: str, marked: str) -> Sample:
    filled = _HOLE.sub(lambda hole: _letters(f"{form} {hole.start()}", hole[1], int(hole[2])), marked)
    secrets = tuple(
        re.findall("⟦(.*?)⟧", filled + ("⟧" if filled.count("⟦") > filled.count("⟧") else ""), re.DOTALL)
    )
    return Sample(heading, form, filled.replace("⟦", "").replace("⟧", ""), secrets)


def _letters(seed: str, alphabet: str, count: int) -> str:
    stream = hashlib.shake_256(seed.encode()).digest(count)
    letters = _ALPHABETS[alphabet]
    return "".join(letters[byte % len(letters)] for byte in stream)


def page() -> str:
    """Return docs/redaction.md with its table as it is now."""
    text = PAGE.read_text(encoding="utf-8")
    return text[: text.index(_TABLE)] + _TABLE + _table()


_TABLE: Final = "<!-- Made by `python -m tests.trust.secret_samples`; edit that. -->\n"


def _table() -> str:
    all_samples = samples()
    found = sum(each.found for each in all_samples)
    lines = ["", f"{found} of {len(all_samples)} forms are found.", ""]
    for heading in SAMPLES:
        lines += [f"### {heading}", "", "| form | found |", "|---|---|"]
        lines += [
            f"| {each.form} | {'yes' if each.found else '**no**'} |"
            for each in all_samples
            if each.heading == heading
        ]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
