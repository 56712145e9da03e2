"""`gluon-nst certificates`, and what `Tls.check` says of files that are of no use."""

import datetime
import stat
import subprocess
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from gluon_nst.cli import cli
from gluon_nst.errors import UsageError
from gluon_nst.launch.certificates import make_certificates
from gluon_nst.launch.tls import FOLDER_VARIABLE, Tls, chosen_tls, tls_address


def run(*arguments):
    return cli.main(["certificates", *map(str, arguments)], standalone_mode=False)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def tls(tmp_path):
    make_certificates(tmp_path / "tls", 1)
    return Tls.in_folder(tmp_path / "tls")


def test_the_command_makes_files_that_hold_together_and_are_the_owners_own(tmp_path, capsys):
    folder = tmp_path / "new/tls"
    run(folder, "--days", "30")
    assert (mode_of(folder), mode_of(folder / "key.pem")) == (0o700, 0o600)
    assert sorted(path.name for path in folder.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
    Tls.in_folder(folder).check()
    ends = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes()).not_valid_after_utc
    in_30_days = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=30)
    assert abs((ends - in_30_days).total_seconds()) < 60
    told = capsys.readouterr().out
    assert f"good until {ends:%Y-%m-%d}" in told
    assert f"--tls-dir {folder}" in told


def test_the_key_of_the_authority_is_kept_nowhere(tls):
    authority = x509.load_pem_x509_certificate(tls.ca_file.read_bytes())
    assert load_pem_private_key(tls.key.read_bytes(), None).public_key() != authority.public_key()
    assert all(
        path.read_bytes().count(b"PRIVATE KEY") == 2 * (path == tls.key) for path in tls.key.parent.iterdir()
    )


@pytest.mark.parametrize("name", ["ca.pem", "cert.pem", "key.pem"])
def test_no_file_is_overwritten(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(UsageError, match=rf"{name} exists, and a cluster may run with it"):
        run(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "precious"}


def test_the_lines_to_install_are_told_where_the_library_is_missing(tmp_path):
    code = "import sys; sys.modules['cryptography'] = None; import gluon_nst.cli as c; c.main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, "certificates", tmp_path / "tls"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "pip install 'gluon-nst[tls]'" in ended.stderr
    assert "Traceback" not in ended.stderr


# ---- files that are of no use


def test_an_expired_certificate_is_named_as_such(tmp_path):
    make_certificates(tmp_path, -1 / 100)  # days
    with pytest.raises(UsageError, match=r"cert\.pem does not hold under .*ca\.pem: certificate has expired"):
        Tls.in_folder(tmp_path).check()


def test_files_of_two_clusters_do_not_go_together(tmp_path, tls):
    make_certificates(tmp_path / "other", 1)
    other = Tls.in_folder(tmp_path / "other")
    with pytest.raises(UsageError, match="does not hold under"):
        Tls(tls.ca_file, other.cert, other.key).check()
    with pytest.raises(UsageError, match="of no use for TLS: KEY_VALUES_MISMATCH"):
        Tls(tls.ca_file, tls.cert, other.key).check()


def test_what_is_missing_or_no_certificate_is_named(tmp_path, tls):
    with pytest.raises(UsageError, match=r"none/ca\.pem cannot be read: No such file"):
        Tls.in_folder(tmp_path / "none").check()
    with pytest.raises(UsageError, match="of no use for TLS"):
        Tls(tls.key, tls.cert, tls.key).check()


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(tls):
    key = load_pem_private_key(tls.key.read_bytes(), None)
    tls.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    with pytest.raises(UsageError, match="of no use for TLS"):
        tls.check()


# ---- which files, and which addresses


def test_files_come_from_a_folder_or_all_three_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    ca, cert, key = (tmp_path / name for name in "abc")
    assert chosen_tls(None, None, None, None) is None
    assert chosen_tls(None, ca, cert, key) == Tls(ca, cert, key)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "from environment"))
    assert chosen_tls(None, None, None, None) == Tls.in_folder(tmp_path / "from environment")
    assert chosen_tls(tmp_path, None, None, None) == Tls.in_folder(tmp_path)
    assert chosen_tls(None, ca, cert, key) == Tls(ca, cert, key)
    for half in ((None, ca, None, None), (None, ca, cert, None), (tmp_path, ca, cert, key)):
        with pytest.raises(UsageError, match="give either --tls-dir, or all of"):
            chosen_tls(*half)


def test_only_tls_is_spoken_with_files_and_never_without(tls):
    assert tls_address("node1:8786", tls) == tls_address("tls://node1:8786", tls) == "tls://node1:8786"
    assert tls_address("tcp://node1:8786", None) == "tcp://node1:8786"
    assert tls_address("node1:8786", None) == "node1:8786"
    with pytest.raises(UsageError, match="with them only tls:// is spoken"):
        tls_address("tcp://node1:8786", tls)
    with pytest.raises(UsageError, match="give its TLS files"):
        tls_address("tls://node1:8786", None)
