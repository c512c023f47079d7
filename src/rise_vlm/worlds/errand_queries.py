"""The functional queries of the errand world: what someone wants, and which thing serves.

`accept` are the kinds of thing that answer a query, `avoid` those that someone might also accept: a scene asked this
query holds exactly one of the former and none of the latter. `phrasings` are seen in training, `held_out` only in the
out-of-domain test.
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
        "What shields me from a shower?",
    ),
    "unlock": _query(
        "key",
        "ladder hammer",
        "What unlocks the front door?",
        "I am locked out. What do I need?",
        "What lets me into the house?",
    ),
    "start_car": _query(
        "key", "", "What starts the car?", "I want to drive off. What do I need first?", "What gets the engine going?"
    ),
    "see_in_dark": _query(
        "lamp candle",
        "phone",
        "What helps me when it gets dark?",
        "It is too dark in here. What helps?",
        "What brightens the evening?",
    ),
    "plug_in": _query(
        "lamp",
        "fan phone candle",
        "What needs a bulb?",
        "I bought a new bulb. Where does it go?",
        "What do I switch on at dusk?",
    ),
    "cut_paper": _query(
        "scissors",
        "pencil",
        "What cuts paper?",
        "I want to cut out a star. What do I use?",
        "What can trim this ribbon?",
    ),
    "cut_hair": _query(
        "scissors",
        "mirror",
        "What does a hairdresser use?",
        "My hair is too long. What helps?",
        "What shortens a fringe?",
    ),
    "drink": _query(
        "cup",
        "kettle bucket",
        "What can I drink from?",
        "I am thirsty. What should I fill?",
        "What would hold my coffee?",
    ),
    "read": _query(
        "book",
        "phone glasses",
        "What can I read?",
        "I would like a good story. What do I open?",
        "What has pages to turn?",
    ),
    "bedtime": _query(
        "book",
        "phone guitar mirror pillow",
        "What do we look into at bedtime?",
        "The children want a tale. What do I take?",
        "What comes from the library?",
    ),
    "tell_time": _query(
        "clock", "phone", "What tells the time?", "Am I late? What should I look at?", "What shows the hour?"
    ),
    "wake_up": _query(
        "clock",
        "phone drum",
        "What wakes me in the morning?",
        "I must get up early. What helps?",
        "What stops me from oversleeping?",
    ),
    "drive_nail": _query(
        "hammer",
        "ladder",
        "What drives in a nail?",
        "I have nails and a board. What else do I need?",
        "What helps me nail up a picture?",
    ),
    "kick": _query(
        "ball", "", "What can I kick?", "We want to play football. What do we need?", "What goes into the goal?"
    ),
    "bounce": _query(
        "ball", "bicycle drum bucket", "What bounces?", "What can we throw and catch?", "What rolls away down a hill?"
    ),
    "sit": _query(
        "chair",
        "pillow bucket drum",
        "What can I sit on?",
        "My legs are tired. What do I need?",
        "Where should a guest take a seat?",
    ),
    "ride": _query(
        "bicycle",
        "key",
        "What can I ride?",
        "I want to get to town fast. What do I take?",
        "What do I pedal to school?",
    ),
    "pump_tyres": _query(
        "bicycle",
        "ball",
        "What has tyres?",
        "I brought a pump for the tyres. Where is it needed?",
        "What rolls along on two wheels?",
    ),
    "call": _query(
        "phone",
        "",
        "What can I call a friend with?",
        "I want to talk to my aunt. What do I use?",
        "What lets me ring the doctor?",
    ),
    "strum": _query(
        "guitar",
        "",
        "What has strings to play?",
        "I want to strum a song. What do I take?",
        "What can I tune and pluck?",
    ),
    "drum_beat": _query(
        "drum",
        "guitar",
        "What can I beat in a band?",
        "We need a loud rhythm. What do we use?",
        "What leads the marching parade?",
    ),
    "music": _query(
        "guitar drum",
        "phone",
        "What makes music?",
        "I want to join the band. What do I bring?",
        "What could I play a tune on?",
    ),
    "sweep": _query(
        "broom",
        "bucket",
        "What sweeps the floor?",
        "There are crumbs all over. What helps?",
        "What clears away the dust?",
    ),
    "leaves": _query(
        "broom",
        "bucket bag fan",
        "What clears leaves off the path?",
        "The yard is full of leaves. What do I use?",
        "What tidies up the autumn leaves?",
    ),
    "climb": _query(
        "ladder",
        "chair boot",
        "What helps me climb up?",
        "I must get onto the roof. What do I need?",
        "What takes me up to the attic?",
    ),
    "pick_fruit": _query(
        "ladder",
        "bucket bag chair",
        "What helps me reach the high branches?",
        "The cherries hang too high. What helps?",
        "What gets me up into the tree?",
    ),
    "keep_warm": _query(
        "coat",
        "hat boot pillow candle cup kettle",
        "What keeps me warm outside?",
        "It is cold out. What should I put on?",
        "What do I wear in the snow?",
    ),
    "buttons": _query(
        "coat", "pillow phone camera drum", "What has sleeves?", "What do I button up?", "What covers my arms?"
    ),
    "mud": _query(
        "boot",
        "",
        "What goes on my foot?",
        "The path is muddy. What should I put on?",
        "What lets me walk through puddles?",
    ),
    "flame": _query(
        "candle", "lamp", "What burns with a flame?", "I have a match. What can I set alight?", "What is made of wax?"
    ),
    "birthday": _query(
        "candle", "", "What can I blow out?", "What goes on a birthday cake?", "What melts as it burns?"
    ),
    "boil": _query(
        "kettle",
        "cup bucket candle",
        "What boils water?",
        "I want to make tea. What goes on the stove?",
        "What whistles when it is hot?",
    ),
    "photo": _query(
        "camera",
        "phone pencil mirror",
        "What takes a photo?",
        "I want a picture of us. What do I use?",
        "What does a photographer hold?",
    ),
    "holiday": _query(
        "camera",
        "phone pencil glasses book",
        "What saves the view for later?",
        "What do tourists point at towers?",
        "What has a shutter and a lens?",
    ),
    "see_well": _query(
        "glasses",
        "lamp mirror candle",
        "What helps weak eyes?",
        "The words look blurred. What helps?",
        "What makes small print clear?",
    ),
    "nose": _query(
        "glasses", "hat phone", "What do I wear on my nose?", "What does an optician sell?", "What rests on my ears?"
    ),
    "carry_water": _query(
        "bucket",
        "cup kettle bag",
        "What carries water to the plants?",
        "I want to wash the car. What do I fill?",
        "What can I mop the floor out of?",
    ),
    "sand": _query(
        "bucket",
        "cup bag hat",
        "What holds sand at the beach?",
        "We are building a castle of sand. What helps?",
        "What can I scoop up sand with?",
    ),
    "sleep": _query(
        "pillow",
        "coat hat bag chair",
        "What goes under my head at night?",
        "I want to take a nap. What do I need?",
        "What can I rest my head on?",
    ),
    "soft": _query(
        "pillow",
        "coat hat bag ball",
        "What is soft and full of feathers?",
        "What belongs on a bed?",
        "What can I hug in bed?",
    ),
    "cool": _query(
        "fan",
        "umbrella hat cup kite bucket",
        "What cools me down?",
        "It is far too hot in here. What helps?",
        "What moves the air?",
    ),
    "own_face": _query(
        "mirror",
        "camera phone",
        "What shows my own face?",
        "Is my hair neat? What do I look into?",
        "What reflects me?",
    ),
    "make_up": _query(
        "mirror",
        "camera phone glasses lamp",
        "What do I need to shave?",
        "I want to paint my lips. What helps me see them?",
        "What lets me check my teeth?",
    ),
    "sun_head": _query(
        "hat",
        "umbrella coat",
        "What do I wear on my head?",
        "The sun burns on my head. What helps?",
        "What does a gentleman lift to say hello?",
    ),
    "wear": _query(
        "coat hat boot",
        "glasses umbrella bag",
        "What can I wear?",
        "What belongs in the wardrobe?",
        "What could a tailor or a shoemaker make?",
    ),
    "fly": _query(
        "kite",
        "umbrella ball coat hat",
        "What flies in the wind?",
        "It is windy at the beach. What should we take?",
        "What rises into the sky on a string?",
    ),
    "carry_books": _query(
        "bag",
        "bucket coat guitar bicycle",
        "What do I pack for school?",
        "I have too much to carry. What helps?",
        "What goes on my back?",
    ),
    "hike": _query(
        "bag",
        "boot bucket hat coat umbrella camera",
        "What holds my lunch on a hike?",
        "Where does my food go on a walk in the hills?",
        "What has straps for my shoulders?",
    ),
    "write": _query(
        "pencil",
        "phone book",
        "What can I write with?",
        "I must note something down. What do I use?",
        "What leaves a mark on paper?",
    ),
    "draw": _query(
        "pencil", "scissors", "What can I draw with?", "What needs a sharpener?", "What does an artist sketch with?"
    ),
    "door_bell": _query(
        "phone",
        "clock",
        "What rings when someone calls?",
        "Who is on the line? What do I pick up?",
        "What do I answer?",
    ),
    "build": _query(
        "hammer",
        "pencil ladder",
        "What does a carpenter swing?",
        "What pulls a nail out again?",
        "What would a builder pound with?",
    ),
}
