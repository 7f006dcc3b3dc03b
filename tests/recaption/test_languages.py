import pytest

from recaption import languages
from recaption.languages import chinese_script, is_language, is_same, language, script_share


@pytest.mark.parametrize(
    ("said", "tag"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("eng", "en"),
        ("English", "en"),
        ("eng_Latn", "en"),
        ("en_US", "en-US"),
        ("pt_br", "pt-BR"),
        ("pt-BR", "pt-BR"),
        ("por_Latn", "pt"),
        ("zh", "zh"),
        ("zh_CN", "zh-Hans"),
        ("zh-TW", "zh-Hant"),
        ("zh-hk", "zh-Hant"),
        ("zho_Hant", "zh-Hant"),
        ("Chinese", "zh"),
        ("Chinese traditional", "zh-Hant"),
        ("cmn", "zh"),
        ("iw", "he"),
        ("no", "nb"),
        ("ger", "de"),
        ("arb_Arab", "ar"),
        ("kor_Hang", "ko"),
        ("__de__", "de"),
        ("sr@latin", "sr-Latn"),
        ("western frisian", "fy"),
        ("es-419", "es-419"),
    ],
)
def test_what_people_and_columns_say_becomes_a_tag(said, tag):
    assert language(said).tag == tag


@pytest.mark.parametrize(
    ("tag", "flores", "m2m", "apertium"),
    [
        ("en", "eng_Latn", "en", "eng"),
        ("zh", "zho_Hans", "zh", "zho"),
        ("zh-Hant", "zho_Hant", "zh", "zho"),
        ("pt-BR", "por_Latn", "pt", "por"),
        ("ja", "jpn_Jpan", "ja", "jpn"),
        ("ko", "kor_Hang", "ko", "kor"),
        ("ar", "arb_Arab", "ar", "ara"),
        ("nb", "nob_Latn", "no", "nob"),
        ("hr", "hrv_Latn", "hr", "hbs"),
        ("eu", "eus_Latn", None, "eus"),
        ("la", None, None, "lat"),
        ("sr-Latn", None, None, "hbs"),
        ("nso", "nso_Latn", "ns", "nso"),
    ],
)
def test_codes_of_translators(tag, flores, m2m, apertium):
    found = language(tag)
    assert (found.flores, found.m2m, found.apertium) == (flores, m2m, apertium)


def test_every_code_of_the_table_leads_back_to_its_language():
    for tag, row in languages._rows().items():
        said = [tag, row.iso3, row.english, *([row.flores] if row.flores else [])]
        assert {language(name).base for name in said} == {tag}


def test_every_code_of_m2m100_belongs_to_a_language():
    assert {row.m2m for row in languages._rows().values()} - {None} == languages._M2M
    assert len(languages._M2M) == 100


def test_the_unknown_is_told_with_what_comes_near():
    with pytest.raises(ValueError, match=r"'spanisch' is not known; near are .*spanish"):
        language("spanisch")
    with pytest.raises(ValueError, match="say a tag"):
        language(" ")
    with pytest.raises(ValueError, match="script 'Abcd' of German"):
        language("de-Abcd")
    assert not is_language("language")
    assert is_language("Klingon") is False


def test_regions_are_the_same_language_and_scripts_are_not():
    assert is_same(language("pt-BR"), language("pt"))
    assert is_same(language("zh"), language("zh-CN"))
    assert not is_same(language("zh-Hans"), language("zh-Hant"))
    assert not is_same(language("es"), language("ca"))
    assert is_same(language("hr"), language("bs"))
    assert not is_same(language("hr"), language("sr"))


def test_share_of_letters_in_a_script():
    assert script_share("Кот спит", "Cyrl") == 1
    assert script_share("Кот cat", "Cyrl") == 0.5
    assert script_share("猫が寝る", "Jpan") == 1
    assert script_share("고양이 3 마리", "Kore") == 1
    assert script_share("12 / 3", "Latn") is None
    assert script_share("ｱｲｳ", "Jpan") == 1
    for row in languages._rows().values():
        assert row.script in languages._BLOCKS, row.tag


def test_chinese_is_told_by_characters_of_one_script():
    assert chinese_script("一个红色的电话") == "Hans"
    assert chinese_script("一個紅色的電話") == "Hant"
    assert chinese_script("大小人口") is None
    assert not languages._SIMPLIFIED & languages._TRADITIONAL
