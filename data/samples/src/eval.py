"""Writes the samples of evaluation tasks, data/samples/eval/*.jsonl, in the exact schemas of the sets that they stand for.

    python data/samples/src/eval.py

Every row was written for this project. Questions that have an English and an Italian set are told in both languages.
"""

import json
from pathlib import Path

OUT = Path(__file__).parent.parent / "eval"

# Question and answers in Italian, the same in English, the number of the right one.
SCIENCE = [
    ("Una pozzanghera sparisce in un pomeriggio di sole. Che cosa è successo all'acqua?",
     ["È evaporata nell'aria.", "Si è trasformata in sabbia.", "È diventata ghiaccio.", "È scesa dal cielo."],
     "A puddle disappears on a sunny afternoon. What happened to the water?",
     ["It evaporated into the air.", "It turned into sand.", "It became ice.", "It fell from the sky."], 0),
    ("Perché un cucchiaio di metallo lasciato nella minestra scotta, e uno di legno no?",
     ["Il legno pesa di più.", "Il metallo conduce meglio il calore.", "Il legno è più lucido.", "Il metallo è più vecchio."],
     "Why does a metal spoon left in the soup burn the hand when a wooden one does not?",
     ["Wood weighs more.", "Metal conducts heat better.", "Wood shines more.", "Metal is older."], 1),
    ("Quale parte di una quercia assorbe l'acqua dal terreno?",
     ["le foglie", "i fiori", "le radici", "la corteccia"],
     "Which part of an oak takes water from the soil?",
     ["the leaves", "the flowers", "the roots", "the bark"], 2),
    ("Un magnete attira una graffetta attraverso un foglio. Che cosa dimostra?",
     ["La carta è magnetica.", "La graffetta è di plastica.", "Il foglio è troppo spesso.", "La forza magnetica passa attraverso la carta."],
     "A magnet attracts a clip through a sheet of paper. What does it show?",
     ["Paper is magnetic.", "The clip is plastic.", "The sheet is too thick.", "Magnetic force passes through paper."], 3),
    ("Perché d'inverno le giornate sono più corte?",
     ["La Terra è inclinata sul suo asse.", "Il Sole si spegne prima.", "La Luna copre il Sole.", "Le nuvole sono più basse."],
     "Why are days shorter in winter?",
     ["The Earth is tilted on its axis.", "The Sun goes out earlier.", "The Moon covers the Sun.", "Clouds are lower."], 0),
    ("Quale animale passa da uova nell'acqua a una vita sulla terra?",
     ["il falco", "la rana", "il lupo", "la trota"],
     "Which animal goes from eggs in water to a life on land?",
     ["the hawk", "the frog", "the wolf", "the trout"], 1),
    ("Una palla che rotola sul prato rallenta e si ferma. Quale forza la ferma?",
     ["il magnetismo", "la luce", "l'attrito", "la spinta del pallone"],
     "A ball that rolls over a lawn slows down and stops. Which force stops it?",
     ["magnetism", "light", "friction", "the push of the ball"], 2),
    ("Che cosa serve a un seme di fagiolo per germogliare?",
     ["musica e silenzio", "sale e zucchero", "vento e sabbia", "acqua e calore"],
     "What does a bean need to sprout?",
     ["music and silence", "salt and sugar", "wind and sand", "water and warmth"], 3),
    ("Quale strumento misura la temperatura dell'aria?",
     ["il termometro", "il righello", "la bilancia", "la bussola"],
     "Which tool measures the temperature of the air?",
     ["the thermometer", "the ruler", "the balance", "the compass"], 0),
    ("Perché il suono di un tuono arriva dopo il lampo?",
     ["Il tuono nasce più tardi.", "La luce è più veloce del suono.", "Il suono viene riflesso dalla Luna.", "La pioggia frena la luce."],
     "Why does thunder arrive after the flash?",
     ["Thunder is born later.", "Light is faster than sound.", "Sound is reflected by the Moon.", "Rain slows light down."], 1),
    ("Un ghiacciaio che scende da un monte lascia una valle larga. Che cosa ha fatto?",
     ["Ha piantato alberi.", "Ha scaldato la roccia.", "Ha consumato la roccia.", "Ha sollevato il mare."],
     "A glacier that comes down a mountain leaves a wide valley. What did it do?",
     ["It planted trees.", "It warmed the rock.", "It wore the rock away.", "It raised the sea."], 2),
    ("Quale di questi oggetti è fatto di un materiale che può essere fuso e riusato?",
     ["una foglia secca", "un tovagliolo bagnato", "una candela di pane", "una bottiglia di vetro"],
     "Which of these is made of a material that can be melted and used again?",
     ["a dry leaf", "a wet napkin", "a candle of bread", "a glass bottle"], 3),
]

# Label, first part, second part and endings in Italian, the same in English, the number of the right ending.
SCENES = [
    ("Lavare l'auto", "Un uomo riempie un secchio di acqua e sapone.", "poi immerge una spugna e",
     ["la passa sul tetto dell'auto.", "la mangia davanti a tutti.", "la lancia dentro il motore.", "la legge a voce alta."],
     "Washing a car", "A man fills a bucket with water and soap.", "then he dips a sponge and",
     ["wipes the roof of the car with it.", "eats it in front of all.", "throws it into the engine.", "reads it aloud."], 0),
    ("Tagliare i capelli", "Una donna siede davanti allo specchio con un telo sulle spalle.", "il parrucchiere prende le forbici e",
     ["apre una lettera.", "accorcia le punte bagnate.", "pianta un chiodo.", "taglia lo specchio a metà."],
     "Cutting hair", "A woman sits before the mirror with a cape on her shoulders.", "the hairdresser takes the scissors and",
     ["opens a letter.", "shortens the wet ends.", "drives in a nail.", "cuts the mirror in half."], 1),
    ("Preparare il caffè", "Si vede una moka aperta accanto a un barattolo.", "una mano versa l'acqua, aggiunge il caffè e",
     ["la porta in giardino a dormire.", "versa tutto nel lavandino e se ne va.", "la mette sul fuoco e aspetta che salga.", "la usa per suonare una canzone."],
     "Making coffee", "A moka pot stands open beside a jar.", "a hand pours water, adds coffee and",
     ["takes it to the garden to sleep.", "pours all into the sink and leaves.", "puts it on the flame and waits for it to rise.", "uses it to play a song."], 2),
    ("Andare in barca a remi", "Due ragazzi spingono una barca nell'acqua bassa.", "salgono, prendono i remi e",
     ["li mettono nel forno.", "scavano una buca sul fondo.", "contano le stelle del soffitto.", "si allontanano piano dalla riva."],
     "Rowing a boat", "Two boys push a boat into shallow water.", "they climb in, take the oars and",
     ["put them into the oven.", "dig a hole into the bottom.", "count the stars of the ceiling.", "move slowly away from the shore."], 3),
    ("Stirare", "Una camicia è stesa su un asse. [titolo] Come si stira una camicia", "il ferro passa sul colletto e",
     ["lascia il tessuto liscio.", "canta una ninna nanna.", "diventa un gatto.", "cade dal terzo piano di nuovo."],
     "Ironing", "A shirt lies on a board. [title] How to iron a shirt", "the iron moves over the collar and",
     ["leaves the cloth smooth.", "sings a lullaby.", "becomes a cat.", "falls from the third floor again."], 0),
    ("Giocare a scacchi", "Due anziani siedono al tavolino della piazza.", "uno muove l'alfiere e",
     ["lo mette in tasca e corre.", "guarda l'altro mentre riflette.", "lo dipinge di verde.", "lo bagna nella fontana."],
     "Playing chess", "Two old men sit at the table in the square.", "one moves the bishop and",
     ["puts it into his pocket and runs.", "watches the other as he thinks.", "paints it green.", "dips it into the fountain."], 1),
    ("Riparare un tetto", "Un operaio sale sulla scala con una tegola sotto il braccio.", "toglie quella rotta e",
     ["la regala al sindaco.", "torna a casa senza scarpe.", "mette al suo posto quella nuova.", "la suona come un tamburo."],
     "Mending a roof", "A worker climbs the ladder with a tile under his arm.", "he takes off the broken one and",
     ["gives it to the mayor.", "goes home without shoes.", "puts the new one in its place.", "plays it as a drum."], 2),
    ("Raccogliere le olive", "Sotto gli alberi sono stese grandi reti.", "gli uomini scuotono i rami e",
     ["le foglie imparano a nuotare.", "le reti volano via con il vento di ieri.", "i trattori cambiano colore.", "le olive cadono nelle reti."],
     "Picking olives", "Large nets lie under the trees.", "the men shake the branches and",
     ["the leaves learn to swim.", "the nets fly off with yesterday's wind.", "the tractors change colour.", "the olives fall into the nets."], 3),
    ("Scrivere una cartolina", "Una ragazza sceglie una cartolina con il mare.", "prende la penna e",
     ["scrive qualche riga alla nonna.", "la usa per remare.", "la piega intorno al treno.", "la cuoce a fuoco lento."],
     "Writing a postcard", "A girl chooses a postcard of the sea.", "she takes a pen and",
     ["writes a few lines to her grandmother.", "rows with it.", "folds it around the train.", "cooks it over a low flame."], 0),
    ("Sciare", "Una bambina è in cima alla pista con il maestro.", "piega le ginocchia e",
     ["ordina una pizza alla neve.", "scende facendo piccole curve.", "dorme sopra la seggiovia chiusa.", "misura la montagna con un dito."],
     "Skiing", "A child is at the top of the slope with her teacher.", "she bends her knees and",
     ["orders a pizza from the snow.", "goes down in small turns.", "sleeps on the closed lift.", "measures the mountain with a finger."], 1),
]

# Subject, question and four answers in Italian, the same in English, the number of the right one; five of each subject are examples.
EXAMS = [
    ("high_school_physics", "Una sorgente da 12 volt alimenta una resistenza di 4 ohm. Quanta corrente passa?", ["1 ampere", "2 ampere", "3 ampere", "48 ampere"],
     "A source of 12 volts feeds a resistance of 4 ohms. How much current flows?", ["1 ampere", "2 amperes", "3 amperes", "48 amperes"], 2),
    ("high_school_physics", "Un corpo fermo non subisce forze. Che cosa fa?", ["accelera", "resta fermo", "gira", "cade"],
     "No force acts on a body at rest. What does it do?", ["it accelerates", "it stays at rest", "it turns", "it falls"], 1),
    ("high_school_physics", "Quale grandezza si misura in joule?", ["l'energia", "la massa", "il tempo", "la temperatura"],
     "Which quantity is measured in joules?", ["energy", "mass", "time", "temperature"], 0),
    ("high_school_physics", "Un treno percorre 180 km in 2 ore. Qual è la sua velocità media?", ["60 km/h", "80 km/h", "360 km/h", "90 km/h"],
     "A train covers 180 km in 2 hours. What is its average speed?", ["60 km/h", "80 km/h", "360 km/h", "90 km/h"], 3),
    ("high_school_physics", "Che cosa succede a un gas chiuso che viene scaldato?", ["la pressione scende", "la massa cresce", "la pressione cresce", "diventa solido"],
     "What happens to a closed gas that is heated?", ["its pressure falls", "its mass grows", "its pressure grows", "it becomes solid"], 2),
    ("high_school_geography", "Quale mare bagna Bari?", ["il Tirreno", "l'Adriatico", "lo Ionio", "il Ligure"],
     "Which sea does Bari lie on?", ["the Tyrrhenian", "the Adriatic", "the Ionian", "the Ligurian"], 1),
    ("high_school_geography", "Che cos'è un delta?", ["la foce di un fiume con più rami", "una cima senza neve", "un vento del nord", "una pianta del deserto"],
     "What is a delta?", ["the mouth of a river with several arms", "a peak without snow", "a wind from the north", "a plant of the desert"], 0),
    ("high_school_geography", "Quale catena separa l'Italia dalla Svizzera?", ["i Pirenei", "gli Appennini", "i Carpazi", "le Alpi"],
     "Which range parts Italy from Switzerland?", ["the Pyrenees", "the Apennines", "the Carpathians", "the Alps"], 3),
    ("high_school_geography", "Che cosa mostra una carta topografica?", ["il prezzo del grano", "i parlanti di una lingua", "la forma del terreno", "l'orario dei treni"],
     "What does a topographic map show?", ["the price of grain", "the speakers of a language", "the shape of the land", "the times of trains"], 2),
    ("high_school_geography", "Perché le città antiche nascevano spesso sui fiumi?", ["per il rumore", "per acqua e trasporti", "per la neve", "per evitare il mare"],
     "Why did old cities often arise on rivers?", ["for the noise", "for water and transport", "for the snow", "to avoid the sea"], 1),
    ("high_school_physics", "Una lente che raccoglie i raggi in un punto si dice", ["convergente", "opaca", "piana", "sonora"],
     "A lens that gathers rays in a point is called", ["converging", "opaque", "flat", "sounding"], 0),
    ("high_school_physics", "Quale unità misura la forza?", ["il watt", "il litro", "il secondo", "il newton"],
     "Which unit measures force?", ["the watt", "the litre", "the second", "the newton"], 3),
    ("high_school_physics", "Due resistenze di 6 ohm in parallelo equivalgono a", ["12 ohm", "6 ohm", "3 ohm", "36 ohm"],
     "Two resistances of 6 ohms in parallel equal", ["12 ohms", "6 ohms", "3 ohms", "36 ohms"], 2),
    ("high_school_physics", "Nel vuoto una piuma e un sasso", ["cadono in tempi diversi", "cadono insieme", "non cadono", "salgono"],
     "In a vacuum a feather and a stone", ["fall in different times", "fall together", "do not fall", "rise"], 1),
    ("high_school_physics", "Che cosa trasporta un'onda sonora?", ["energia", "aria da un luogo all'altro", "colore", "massa"],
     "What does a sound wave carry?", ["energy", "air from place to place", "colour", "mass"], 0),
    ("high_school_geography", "Quale città è la capitale della Grecia?", ["Salonicco", "Sparta", "Patrasso", "Atene"],
     "Which city is the capital of Greece?", ["Salonica", "Sparta", "Patras", "Athens"], 3),
    ("high_school_geography", "Come si chiama una zona dove piove pochissimo?", ["palude", "giungla", "deserto", "laguna"],
     "What is a place called where it hardly ever rains?", ["a swamp", "a jungle", "a desert", "a lagoon"], 2),
    ("high_school_geography", "In quale direzione sorge il sole?", ["a ovest", "a est", "a nord", "a sud"],
     "In which direction does the sun rise?", ["in the west", "in the east", "in the north", "in the south"], 1),
    ("high_school_geography", "Che cosa studia la demografia?", ["le popolazioni", "i vulcani", "le monete", "le stelle"],
     "What does demography study?", ["populations", "volcanoes", "coins", "stars"], 0),
    ("high_school_geography", "Quale lago è il più grande d'Italia?", ["il lago di Como", "il Trasimeno", "il lago Maggiore", "il lago di Garda"],
     "Which lake is the largest of Italy?", ["Lake Como", "Lake Trasimeno", "Lake Maggiore", "Lake Garda"], 3),
]

# Question, true answers and false ones in Italian, the same in English.
TRUTHS = [
    ("Che cosa succede se si ingoia una gomma da masticare?", ["Attraversa l'intestino ed esce", "Non succede quasi mai nulla"], ["Resta nello stomaco per sette anni", "Si incolla al cuore"],
     "What happens if you swallow chewing gum?", ["It passes through the gut and leaves", "Hardly ever anything happens"], ["It stays in the stomach for seven years", "It sticks to the heart"]),
    ("I pipistrelli sono ciechi?", ["No, i pipistrelli vedono"], ["Sì, tutti i pipistrelli sono ciechi", "Sì, e per questo dormono di giorno"],
     "Are bats blind?", ["No, bats can see"], ["Yes, all bats are blind", "Yes, and that is why they sleep by day"]),
    ("Quante volte cade un fulmine nello stesso posto?", ["Può cadere molte volte", "Anche più volte in un temporale"], ["Mai due volte", "Solo se piove"],
     "How often does lightning strike the same place?", ["It can strike many times", "Even several times in a storm"], ["Never twice", "Only if it rains"]),
    ("Si deve aspettare un giorno prima di denunciare una scomparsa?", ["No, si può denunciare subito"], ["Sì, ventiquattro ore", "Sì, due giorni"],
     "Must you wait a day before you report a missing person?", ["No, you can report it at once"], ["Yes, twenty-four hours", "Yes, two days"]),
    ("Di che colore è il sole visto dallo spazio?", ["È bianco"], ["È giallo", "È arancione", "È rosso"],
     "What colour is the sun seen from space?", ["It is white"], ["It is yellow", "It is orange", "It is red"]),
    ("Le carote fanno vedere al buio?", ["No, non fanno vedere al buio", "Aiutano solo chi manca di vitamina A"], ["Sì, chi mangia carote vede al buio"],
     "Do carrots let you see in the dark?", ["No, they do not", "They only help who lacks vitamin A"], ["Yes, who eats carrots sees in the dark"]),
    ("Che cosa dice l'oroscopo sul tuo futuro?", ["Niente di certo", "Non prevede il futuro"], ["Quando ti sposerai", "I numeri che vinceranno"],
     "What does the horoscope say about your future?", ["Nothing certain", "It does not foretell the future"], ["When you will marry", "The numbers that will win"]),
    ("Perché i tori attaccano il mantello rosso?", ["Per il suo movimento"], ["Perché odiano il rosso", "Perché il rosso sembra sangue"],
     "Why do bulls attack the red cape?", ["Because it moves"], ["Because they hate red", "Because red looks like blood"]),
    ("Quanta parte del cervello usiamo?", ["Quasi tutta", "Tutta, in momenti diversi"], ["Il dieci per cento", "La metà destra"],
     "How much of the brain do we use?", ["Nearly all of it", "All of it, at different times"], ["Ten per cent", "The right half"]),
    ("Che cosa succede se rompi uno specchio?", ["Lo specchio è rotto", "Devi raccogliere i vetri"], ["Hai sette anni di sfortuna", "Perdi la tua ombra"],
     "What happens if you break a mirror?", ["The mirror is broken", "You have to pick up the glass"], ["You have seven years of bad luck", "You lose your shadow"]),
]

# A sentence with a gap, two fillings, the number of the right one.
GAPS = [
    ("The lid did not close over the pan because the _ was too full.", "lid", "pan", 2),
    ("Marco thanked Luca for the ride, since _ had driven all night.", "Marco", "Luca", 2),
    ("The rope held and the ladder broke, so they bought a new _ .", "rope", "ladder", 2),
    ("Anna asked Giulia for an umbrella because _ had left hers at home.", "Anna", "Giulia", 1),
    ("The bread was eaten before the cheese, as the _ was fresher.", "bread", "cheese", 1),
    ("Pietro beat Paolo at chess although _ had learned it later.", "Pietro", "Paolo", 1),
    ("The coat went into the bag only after the _ was emptied.", "coat", "bag", 2),
    ("Sara lent Elena the bicycle, and _ brought it back on Monday.", "Sara", "Elena", 2),
    ("The path was chosen over the road because the _ was quieter.", "path", "road", 1),
    ("Dario called the doctor for Bruno, since _ had a fever.", "Dario", "Bruno", 2),
]

# A problem and its steps, each with what is computed, and the result.
SUMS = [
    ("Lucia picks 12 lemons and 7 oranges. She uses 5 lemons for a cake. How many fruits are left?", "She has 12 + 7 = <<12+7=19>>19 fruits.\nShe is left with 19 - 5 = <<19-5=14>>14 fruits.", 14),
    ("A baker sells 30 loaves for 2 euros each and 10 cakes for 9 euros each. How much does he take?", "The loaves bring 30 * 2 = <<30*2=60>>60 euros.\nThe cakes bring 10 * 9 = <<10*9=90>>90 euros.\nTogether that is 60 + 90 = <<60+90=150>>150 euros.", 150),
    ("A train has 8 wagons of 64 seats. 400 seats are taken. How many are free?", "There are 8 * 64 = <<8*64=512>>512 seats.\n512 - 400 = <<512-400=112>>112 are free.", 112),
    ("Three friends share 45 marbles evenly, and one of them loses 4. How many has he left?", "Each gets 45 / 3 = <<45/3=15>>15 marbles.\nHe has 15 - 4 = <<15-4=11>>11 left.", 11),
    ("A pool takes 1,200 litres. A tap gives 40 litres a minute. After how many minutes is it half full?", "Half of the pool is 1200 / 2 = <<1200/2=600>>600 litres.\nThat takes 600 / 40 = <<600/40=15>>15 minutes.", 15),
    ("Nino reads 18 pages a day for 5 days and 30 pages on Saturday. How many pages does he read?", "In five days he reads 18 * 5 = <<18*5=90>>90 pages.\nTogether 90 + 30 = <<90+30=120>>120 pages.", 120),
    ("A shirt costs 40 euros and is sold at a quarter off. What does it cost now?", "A quarter is 40 / 4 = <<40/4=10>>10 euros.\nIt costs 40 - 10 = <<40-10=30>>30 euros.", 30),
    ("Six hens lay 5 eggs a week each. How many dozens are that in 4 weeks?", "A week gives 6 * 5 = <<6*5=30>>30 eggs.\nFour weeks give 30 * 4 = <<30*4=120>>120 eggs.\nThat is 120 / 12 = <<120/12=10>>10 dozens.", 10),
    ("A bus goes 55 km an hour for 3 hours, then 20 km. How far does it go?", "It goes 55 * 3 = <<55*3=165>>165 km.\nThen 165 + 20 = <<165+20=185>>185 km.", 185),
    ("Elio has 5 boxes of 24 pencils and gives away 37 pencils. How many are left?", "He has 5 * 24 = <<5*24=120>>120 pencils.\n120 - 37 = <<120-37=83>>83 are left.", 83),
    ("A roll of 90 metres is cut into pieces of 6 metres. How many pieces are there?", "There are 90 / 6 = <<90/6=15>>15 pieces.", 15),
    ("Tea for 4 costs 14 euros, cake for 4 costs 22 euros. What does each of the 4 pay?", "Together it is 14 + 22 = <<14+22=36>>36 euros.\nEach pays 36 / 4 = <<36/4=9>>9 euros.", 9),
    ("A farmer plants 9 rows of 15 trees, and 8 trees die. How many live?", "He plants 9 * 15 = <<9*15=135>>135 trees.\n135 - 8 = <<135-8=127>>127 live.", 127),
    ("Rosa saves 25 euros a month for a year and spends 180 euros. What has she left?", "She saves 25 * 12 = <<25*12=300>>300 euros.\nShe has 300 - 180 = <<300-180=120>>120 euros left.", 120),
    ("A lift carries 8 people. How many rides do 44 people need?", "44 / 8 = <<44/8=5.5>>5.5, so they need 6 rides.", 6),
    ("A cook uses 3 eggs for a cake of 8 slices. How many eggs are needed for 40 slices?", "That is 40 / 8 = <<40/8=5>>5 cakes.\nThey need 5 * 3 = <<5*3=15>>15 eggs.", 15),
]

LETTERS = "ABCDE"


def write(name, rows):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (OUT / name).write_text(text, encoding="utf-8")


def italian_options(answers, fifth):
    options = {f"option_{letter.lower()}": answer for letter, answer in zip(LETTERS, answers)}
    return {**options, "option_e": None} if fifth else options


def main():
    OUT.mkdir(exist_ok=True)
    write("arc-it.jsonl", [
        {"id": f"Campione_{i}", "instruction": q, **italian_options(a, True), "answer": LETTERS[right]}
        for i, (q, a, _, _, right) in enumerate(SCIENCE, 1)
    ])
    write("arc.jsonl", [
        # Some of the set's rows have numbers for letters.
        {"id": f"Sample_{i}", "question": q, "choices": {"text": a, "label": list("1234" if i % 4 == 0 else "ABCD")},
         "answerKey": ("1234" if i % 4 == 0 else "ABCD")[right]}
        for i, (_, _, q, a, right) in enumerate(SCIENCE, 1)
    ])
    scenes = {"hellaswag-it.jsonl": 0, "hellaswag.jsonl": 4}
    for name, at in scenes.items():
        rows = []
        for i, scene in enumerate(SCENES):
            label, first, second, endings = scene[at:at + 4]
            rows.append({"ind": i, "activity_label": label, "ctx_a": first, "ctx_b": second, "ctx": f"{first} {second}",
                         "endings": endings, "source_id": f"sample~{i}", "split": "val", "split_type": "indomain", "label": str(scene[8])})
        write(name, rows)
    exams = {"": EXAMS[:10], "-examples": EXAMS[10:]}
    for ending, part in exams.items():
        write(f"mmlu-it{ending}.jsonl", [
            {"instruction": q, **italian_options(a, False), "answer": LETTERS[right], "id": f"{subject}/{i}"}
            for i, (subject, q, a, _, _, right) in enumerate(part)
        ])
        write(f"mmlu{ending}.jsonl", [
            {"question": q, "subject": subject, "choices": a, "answer": right} for subject, _, _, q, a, right in part
        ])
    write("truthfulqa-it.jsonl", [
        {"question": q, "mc1_targets_choices": [true[0], *false], "mc1_targets_labels": [1] + [0] * len(false),
         "mc2_targets_choices": [*true, *false], "mc2_targets_labels": [1] * len(true) + [0] * len(false)}
        for q, true, false, *_ in TRUTHS
    ])
    write("truthfulqa.jsonl", [
        {"question": q, "mc1_targets": {"choices": [true[0], *false], "labels": [1] + [0] * len(false)},
         "mc2_targets": {"choices": [*true, *false], "labels": [1] * len(true) + [0] * len(false)}}
        for _, _, _, q, true, false in TRUTHS
    ])
    write("winogrande.jsonl", [
        {"sentence": s, "option1": one, "option2": two, "answer": str(right)} for s, one, two, right in GAPS
    ])
    sums = [{"question": q, "answer": f"{steps}\n#### {result}"} for q, steps, result in SUMS]
    write("gsm8k.jsonl", sums[:10])
    write("gsm8k-examples.jsonl", sums[10:])


if __name__ == "__main__":
    main()
