"""Word lists of our own by which captions are damaged: English, and a few words of others.

Words of one list can stand in for each other and make another statement; none is a synonym of
another in its list.
"""

OBJECTS: tuple[tuple[str, ...], ...] = tuple(
    tuple(line.split())
    for line in (
        "dog cat horse cow sheep goat pig rabbit fox bear lion tiger wolf monkey elephant giraffe"
        " zebra camel deer mouse squirrel hedgehog kangaroo koala panda donkey rhinoceros hippo",
        "bird duck chicken eagle owl parrot penguin swan turkey peacock pigeon flamingo crow goose",
        "fish shark whale dolphin octopus crab lobster turtle frog snake lizard crocodile snail"
        " seal jellyfish seahorse starfish",
        "bee butterfly ant spider beetle ladybug mosquito fly worm caterpillar dragonfly cricket",
        "car bus truck train bicycle motorcycle boat ship airplane helicopter tractor rocket tram"
        " scooter taxi van submarine canoe balloon sailboat ambulance locomotive",
        "apple banana orange pear grape cherry strawberry lemon peach pineapple watermelon kiwi"
        " mango coconut plum raspberry",
        "carrot potato tomato onion pepper mushroom corn broccoli cucumber cabbage pumpkin lettuce"
        " eggplant garlic pea radish",
        "bread cake pizza burger sandwich cookie pie egg cheese sausage soup salad donut pancake"
        " ice-cream sushi taco pretzel chocolate candy",
        "table chair bed sofa lamp shelf desk bench cupboard mirror stool bathtub toilet",
        "house church castle tower bridge barn hotel school hospital factory lighthouse windmill"
        " temple mosque stadium tent library skyscraper pyramid",
        "tree flower leaf cactus bush rose tulip grass sunflower palm daisy lily fern acorn",
        "mountain river lake beach desert forest island volcano waterfall hill cave canyon field",
        "sun moon star cloud rainbow comet lightning snowflake planet",
        "shirt hat shoe coat dress sock scarf glove trousers boot jacket belt tie skirt cap sandal",
        "hand foot nose ear eye mouth tooth leg arm knee finger heart brain bone",
        "hammer saw screwdriver axe shovel wrench pliers drill ladder rake knife scissors",
        "pencil book phone computer camera clock key bag cup bottle umbrella box ball candle bell"
        " basket bucket broom envelope newspaper keyboard printer radio television",
        "guitar piano drum violin trumpet flute saxophone accordion harp banjo",
        "man woman boy girl baby",
        "doctor teacher farmer cook pilot singer police-officer firefighter painter soldier judge"
        " mechanic student scientist astronaut clown king queen pirate wizard",
        "kitchen bathroom bedroom garage office garden street park",
        "circle square triangle star cross arrow diamond rectangle hexagon",
        "football basketball tennis baseball golf hockey volleyball rugby",
        "summer winter spring autumn",
        "morning evening noon midnight",
    )
)
"""Things, in lists of the same sort: what is swapped stays plausible."""

ATTRIBUTES: tuple[tuple[str, ...], ...] = tuple(
    tuple(line.split())
    for line in (
        "red blue green yellow orange purple pink brown black white gray",
        "big small",
        "large little",
        "long short",
        "tall tiny",
        "old new",
        "young elderly",
        "open closed",
        "full empty",
        "happy sad angry",
        "smiling frowning crying",
        "hot cold",
        "wet dry",
        "bright dark",
        "clean dirty",
        "thick thin",
        "heavy light",
        "wooden metal plastic glass stone leather paper",
        "round square oval",
        "striped plain spotted",
        "smooth rough",
        "soft hard",
        "sunny rainy cloudy snowy foggy",
        "sleeping running sitting standing flying swimming jumping eating walking dancing",
    )
)
"""Properties and states: every other word of a list says something else."""

RELATIONS: tuple[tuple[str, ...], ...] = (
    ("on", "under", "beside"),
    ("above", "below"),
    ("over", "beneath"),
    ("inside", "outside"),
    ("with", "without"),
    ("behind", "before"),
    ("in front of", "behind"),
    ("on top of", "underneath"),
    ("next to", "far from"),
    ("to the left of", "to the right of"),
    ("left", "right"),
    ("up", "down"),
    ("upwards", "downwards"),
    ("upper", "lower"),
    ("top", "bottom"),
    ("into", "out of"),
    ("towards", "away from"),
    ("riding", "pulling"),
    ("holding", "dropping"),
    ("wearing", "carrying"),
    ("in", "on"),
    ("north", "south", "east", "west"),
)
"""Where and how things stand to each other; several words are one phrase."""

NUMBERS: tuple[str, ...] = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve"),
)
COUNTED: tuple[str, ...] = ("single", "double", "triple")

GENERIC: tuple[str, ...] = (
    "an image",
    "a picture of something",
    "a nice picture",
    "stock photo",
    "an object",
    "something interesting",
    "a photo of a thing",
    "image with details",
    "beautiful design for your project",
    "free download in high resolution",
    "untitled",
    "a graphic",
)
"""What could stand under anything."""

PLURALS = {
    "man": "men",
    "woman": "women",
    "mouse": "mice",
    "goose": "geese",
    "foot": "feet",
    "tooth": "teeth",
    "sheep": "sheep",
    "fish": "fish",
    "deer": "deer",
    "leaf": "leaves",
    "knife": "knives",
    "wolf": "wolves",
    "shelf": "shelves",
    "baby": "babies",
    "cherry": "cherries",
    "strawberry": "strawberries",
    "raspberry": "raspberries",
    "candy": "candies",
    "butterfly": "butterflies",
    "fly": "flies",
    "lily": "lilies",
    "daisy": "daisies",
    "library": "libraries",
    "factory": "factories",
    "trousers": "trousers",
    "scissors": "scissors",
    "pliers": "pliers",
}
"""Plurals that no rule gives."""

TRANSLATIONS: dict[str, tuple[str, ...]] = {
    word: tuple(line.split("/"))
    for word, line in (
        ("dog", "Hund/chien/perro"), ("cat", "Katze/chat/gato"), ("horse", "Pferd/cheval/caballo"),
        ("bird", "Vogel/oiseau/pájaro"), ("fish", "Fisch/poisson/pez"), ("bear", "Bär/ours/oso"),
        ("car", "Auto/voiture/coche"), ("bus", "Bus/autobus/autobús"), ("train", "Zug/train/tren"),
        ("boat", "Boot/bateau/barco"), ("house", "Haus/maison/casa"), ("tree", "Baum/arbre/árbol"),
        ("flower", "Blume/fleur/flor"), ("sun", "Sonne/soleil/sol"), ("moon", "Mond/lune/luna"),
        ("star", "Stern/étoile/estrella"), ("man", "Mann/homme/hombre"),
        ("woman", "Frau/femme/mujer"), ("boy", "Junge/garçon/niño"), ("girl", "Mädchen/fille/niña"),
        ("apple", "Apfel/pomme/manzana"), ("bread", "Brot/pain/pan"),
        ("cake", "Kuchen/gâteau/tarta"),
        ("table", "Tisch/table/mesa"), ("chair", "Stuhl/chaise/silla"), ("bed", "Bett/lit/cama"),
        ("book", "Buch/livre/libro"), ("clock", "Uhr/horloge/reloj"),
        ("key", "Schlüssel/clé/llave"),
        ("mountain", "Berg/montagne/montaña"), ("river", "Fluss/rivière/río"),
        ("sea", "Meer/mer/mar"), ("water", "Wasser/eau/agua"), ("hand", "Hand/main/mano"),
        ("heart", "Herz/cœur/corazón"), ("face", "Gesicht/visage/cara"),
        ("red", "rot/rouge/rojo"), ("blue", "blau/bleu/azul"), ("green", "grün/vert/verde"),
        ("yellow", "gelb/jaune/amarillo"), ("black", "schwarz/noir/negro"),
        ("white", "weiß/blanc/blanco"), ("big", "groß/grand/grande"),
        ("small", "klein/petit/pequeño"), ("old", "alt/vieux/viejo"), ("new", "neu/nouveau/nuevo"),
        ("flag", "Flagge/drapeau/bandera"), ("with", "mit/avec/con"), ("and", "und/et/y"),
        ("in", "in/dans/en"), ("on", "auf/sur/sobre"), ("of", "von/de/de"),
        ("a", "ein/un/un"), ("an", "ein/un/un"), ("the", "der/le/el"),
        ("two", "zwei/deux/dos"), ("three", "drei/trois/tres"),
    )
}  # fmt: skip
"""German, French and Spanish for words of captions."""
LINKING = frozenset(["with", "and", "in", "on", "of", "a", "an", "the"])
"""Words of TRANSLATIONS that say nothing by themselves."""
