"""Common English verb forms: enough to tell a sentence from a title when no tagger is installed."""

_WORDS = """
    be am is are was were been being have has had having do does did done doing will would shall should can could may
    might must say says said make makes made go goes went gone take takes took taken come comes came see sees saw seen
    know knows knew known get gets got give gives gave given find finds found think thinks thought tell tells told
    become becomes became show shows showed shown leave leaves left feel feels felt put puts bring brings brought begin
    begins began begun keep keeps kept hold holds held write writes wrote written stand stands stood hear hears heard
    let lets mean means meant set sets meet meets met run runs ran pay pays paid sit sits sat speak speaks spoke lie
    lead leads led read reads grow grows grew grown lose loses lost fall falls fell fallen send sends sent build builds
    built understand understands draw draws drew drawn break breaks broke broken spend spends spent cut cuts rise rises
    rose drive drives drove driven buy buys bought wear wears wore choose chooses chose chosen seem seems seemed ask
    asks asked work works worked call calls called try tries tried need needs needed use uses used want wants wanted
    look looks looked move moves moved live lives lived believe believes believed include includes included including
    continue continues continued allow allows allowed apply applies applied agree agrees agreed provide provides
    provided require requires required receive receives received remain remains remained follow follows followed
    appear appears appeared contain contains contained consider considers considered report reports reported serve
    serves served expect expects expected describe describes described ensure ensures ensured exceed exceeds exceeded
    terminate terminates terminated deliver delivers delivered perform performs performed notify notifies notified
    submit submits submitted approve approves approved review reviews reviewed maintain maintains maintained comply
    complies complied constitute constitutes constituted appoint appoints appointed govern governs governed grant
    grants granted entitle entitles entitled reserve reserves reserved exist exists existed occur occurs occurred
    depend depends depended increase increases increased decrease decreases decreased start starts started stop stops
    stopped end ends ended open opens opened close closes closed change changes changed help helps helped
    """
VERBS = frozenset(_WORDS.split())
