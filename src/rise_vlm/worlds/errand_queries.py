"""The functional queries of the errand world: what someone wants, and which thing serves.

`accept` are the kinds of thing that answer a query, `avoid` those that someone might also accept: a scene asked this
query holds exactly one of the former and none of the latter. `phrasings` are seen in training, `held_out` only in the
out-of-domain test: a new sentence around a telling word of the query's own phrasings, with no word that is new to
training. A model that knows no English beyond what it was trained on could not understand a wording of new words.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Query:
    """One want: the kinds that answer it, the kinds too near to it, and its wordings."""

    accept: tuple[str, ...]
    avoid: tuple[str, ...]
    phrasings: tuple[str, ...]
    held_out: tuple[str, ...]


def _query(accept: str, avoid: str, *wordings: str) -> Query:
    """The last wording is held out."""
    return Query(tuple(accept.split()), tuple(avoid.split()), wordings[:-1], wordings[-1:])


QUERIES: dict[str, Query] = {
    "stay_dry": _query(
        "umbrella",
        "coat hat boot bag",
        "What keeps me dry?",
        "It is raining. What should I take?",
        "What keeps us dry when it is raining?",
    ),
    "unlock": _query(
        "key",
        "ladder hammer",
        "What unlocks the front door?",
        "I am locked out. What do I need?",
        "The front door is locked. What unlocks it?",
    ),
    "start_car": _query(
        "key",
        "",
        "What starts the car?",
        "I want to drive off. What do I need first?",
        "I want to drive. What starts my car?",
    ),
    "see_in_dark": _query(
        "lamp candle",
        "phone",
        "What helps me when it gets dark?",
        "It is too dark in here. What helps?",
        "It gets dark in here. What do I need?",
    ),
    "plug_in": _query(
        "lamp",
        "fan phone candle",
        "What needs a bulb?",
        "I bought a new bulb. Where does it go?",
        "I have a new bulb. What needs it?",
    ),
    "cut_paper": _query(
        "scissors",
        "pencil",
        "What cuts paper?",
        "I want to cut out a star. What do I use?",
        "What can I cut a paper star with?",
    ),
    "cut_hair": _query(
        "scissors",
        "mirror",
        "What does a hairdresser use?",
        "My hair is too long. What helps?",
        "What would a hairdresser use on my long hair?",
    ),
    "drink": _query(
        "cup",
        "kettle bucket",
        "What can I drink from?",
        "I am thirsty. What should I fill?",
        "I am thirsty and want to drink. What do I need?",
    ),
    "read": _query(
        "book",
        "phone glasses",
        "What can I read?",
        "I would like a good story. What do I open?",
        "I want to read a good story. What should I take?",
    ),
    "bedtime": _query(
        "book",
        "phone guitar mirror pillow",
        "What do we look into at bedtime?",
        "The children want a tale. What do I take?",
        "The children want a bedtime tale. What should I open?",
    ),
    "tell_time": _query(
        "clock", "phone", "What tells the time?", "Am I late? What should I look at?", "What tells me when I am late?"
    ),
    "wake_up": _query(
        "clock",
        "phone drum",
        "What wakes me in the morning?",
        "I must get up early. What helps?",
        "I want to get up early in the morning. What wakes me?",
    ),
    "drive_nail": _query(
        "hammer",
        "ladder",
        "What drives in a nail?",
        "I have nails and a board. What else do I need?",
        "What do I need to put nails into a board?",
    ),
    "kick": _query(
        "ball",
        "",
        "What can I kick?",
        "We want to play football. What do we need?",
        "What do we kick when we play football?",
    ),
    "bounce": _query(
        "ball",
        "bicycle drum bucket",
        "What bounces?",
        "What can we throw and catch?",
        "What do I catch when it bounces?",
    ),
    "sit": _query(
        "chair",
        "pillow bucket drum",
        "What can I sit on?",
        "My legs are tired. What do I need?",
        "I am tired. Where can I sit?",
    ),
    "ride": _query(
        "bicycle",
        "key",
        "What can I ride?",
        "I want to get to town fast. What do I take?",
        "What do I ride to get to town fast?",
    ),
    "pump_tyres": _query(
        "bicycle",
        "ball",
        "What has tyres?",
        "I brought a pump for the tyres. Where is it needed?",
        "I have a pump. Where are the tyres?",
    ),
    "call": _query(
        "phone",
        "",
        "What can I call a friend with?",
        "I want to talk to my aunt. What do I use?",
        "I must call my aunt. What do I need?",
    ),
    "strum": _query(
        "guitar",
        "",
        "What has strings to play?",
        "I want to strum a song. What do I take?",
        "What do I strum when I play a song?",
    ),
    "drum_beat": _query(
        "drum",
        "guitar",
        "What can I beat in a band?",
        "We need a loud rhythm. What do we use?",
        "What can I beat for a loud rhythm?",
    ),
    "music": _query(
        "guitar drum",
        "phone",
        "What makes music?",
        "I want to join the band. What do I bring?",
        "I want to join in the music. What should I bring?",
    ),
    "sweep": _query(
        "broom",
        "bucket",
        "What sweeps the floor?",
        "There are crumbs all over. What helps?",
        "What sweeps up the crumbs on the floor?",
    ),
    "leaves": _query(
        "broom",
        "bucket bag fan",
        "What clears leaves off the path?",
        "The yard is full of leaves. What do I use?",
        "What clears the yard of leaves?",
    ),
    "climb": _query(
        "ladder",
        "chair boot",
        "What helps me climb up?",
        "I must get onto the roof. What do I need?",
        "I want to climb onto the roof. What should I use?",
    ),
    "pick_fruit": _query(
        "ladder",
        "bucket bag chair",
        "What helps me reach the high branches?",
        "The cherries hang too high. What helps?",
        "The cherries are too high to reach. What do I need?",
    ),
    "keep_warm": _query(
        "coat",
        "hat boot pillow candle cup kettle",
        "What keeps me warm outside?",
        "It is cold out. What should I put on?",
        "What keeps me warm when it is cold outside?",
    ),
    "buttons": _query(
        "coat",
        "pillow phone camera drum",
        "What has sleeves?",
        "What do I button up?",
        "It has sleeves and I button it up. What is it?",
    ),
    "mud": _query(
        "boot",
        "",
        "What goes on my foot?",
        "The path is muddy. What should I put on?",
        "What do I put on my foot when it is muddy?",
    ),
    "flame": _query(
        "candle",
        "lamp",
        "What burns with a flame?",
        "I have a match. What can I set alight?",
        "I want a flame. What do I set alight?",
    ),
    "birthday": _query(
        "candle", "", "What can I blow out?", "What goes on a birthday cake?", "What do I blow out on my birthday cake?"
    ),
    "boil": _query(
        "kettle",
        "cup bucket candle",
        "What boils water?",
        "I want to make tea. What goes on the stove?",
        "What boils on the stove when I want tea?",
    ),
    "photo": _query(
        "camera",
        "phone pencil mirror",
        "What takes a photo?",
        "I want a picture of us. What do I use?",
        "I want to take a photo of us. What do I need?",
    ),
    "holiday": _query(
        "camera",
        "phone pencil glasses book",
        "What saves the view for later?",
        "What do tourists point at towers?",
        "The tourists like the view. What saves it for later?",
    ),
    "see_well": _query(
        "glasses",
        "lamp mirror candle",
        "What helps weak eyes?",
        "The words look blurred. What helps?",
        "My eyes are weak and the words are blurred. What do I need?",
    ),
    "nose": _query(
        "glasses",
        "hat phone",
        "What do I wear on my nose?",
        "What does an optician sell?",
        "What does the optician put on my nose?",
    ),
    "carry_water": _query(
        "bucket",
        "cup kettle bag",
        "What carries water to the plants?",
        "I want to wash the car. What do I fill?",
        "The plants need water. What carries it?",
    ),
    "sand": _query(
        "bucket",
        "cup bag hat",
        "What holds sand at the beach?",
        "We are building a castle of sand. What helps?",
        "What do we need for building a sand castle?",
    ),
    "sleep": _query(
        "pillow",
        "coat hat bag chair",
        "What goes under my head at night?",
        "I want to take a nap. What do I need?",
        "What goes under my head when I take a nap?",
    ),
    "soft": _query(
        "pillow",
        "coat hat bag ball",
        "What is soft and full of feathers?",
        "What belongs on a bed?",
        "I want a soft bed. What do I need?",
    ),
    "cool": _query(
        "fan",
        "umbrella hat cup kite bucket",
        "What cools me down?",
        "It is far too hot in here. What helps?",
        "What cools me when I am too hot?",
    ),
    "own_face": _query(
        "mirror",
        "camera phone",
        "What shows my own face?",
        "Is my hair neat? What do I look into?",
        "Is my own face neat? What shows it?",
    ),
    "make_up": _query(
        "mirror",
        "camera phone glasses lamp",
        "What do I need to shave?",
        "I want to paint my lips. What helps me see them?",
        "What helps me see when I shave?",
    ),
    "sun_head": _query(
        "hat",
        "umbrella coat",
        "What do I wear on my head?",
        "The sun burns on my head. What helps?",
        "What should I wear on my head in the sun?",
    ),
    "wear": _query(
        "coat hat boot",
        "glasses umbrella bag",
        "What can I wear?",
        "What belongs in the wardrobe?",
        "What can I take out of the wardrobe and wear?",
    ),
    "fly": _query(
        "kite",
        "umbrella ball coat hat",
        "What flies in the wind?",
        "It is windy at the beach. What should we take?",
        "What flies when it is windy?",
    ),
    "carry_books": _query(
        "bag",
        "bucket coat guitar bicycle",
        "What do I pack for school?",
        "I have too much to carry. What helps?",
        "I have much to carry to school. What do I pack it in?",
    ),
    "hike": _query(
        "bag",
        "boot bucket hat coat umbrella camera",
        "What holds my lunch on a hike?",
        "Where does my food go on a walk in the hills?",
        "Where do I put my lunch for a hike in the hills?",
    ),
    "write": _query(
        "pencil",
        "phone book",
        "What can I write with?",
        "I must note something down. What do I use?",
        "I want to write something down. What do I need?",
    ),
    "draw": _query(
        "pencil",
        "scissors",
        "What can I draw with?",
        "What needs a sharpener?",
        "What do I draw with and put in a sharpener?",
    ),
    "door_bell": _query(
        "phone",
        "clock",
        "What rings when someone calls?",
        "Who is on the line? What do I pick up?",
        "What should I pick up when it rings?",
    ),
    "build": _query(
        "hammer",
        "pencil ladder",
        "What does a carpenter swing?",
        "What pulls a nail out again?",
        "What would a carpenter swing at a nail?",
    ),
}
