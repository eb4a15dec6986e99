"""Words that decide whether capital letters make a name. All in lower case."""

_TITLES = """
    mr mrs ms miss mx dr prof professor sir madam mme mlle monsieur madame herr frau sig signor signora sr sra
    señor señora senhor senhora dott dott.ssa judge justice hon rev capt sgt lt col gen
    """
TITLES = frozenset(_TITLES.split())
"""Before a name."""

_NO_NAMES = """
    inc corp corporation company co ltd llc llp plc gmbh ag sa bv nv limited group holdings partners bank trust
    fund university college school hospital institute foundation association society council court department
    ministry street st avenue ave road rd lane ln drive boulevard blvd square place plaza way highway parkway
    suite apt floor city county state states island islands river lake bay valley park hill hills north south east
    west new york january february march april may june july august september october november december monday
    tuesday wednesday thursday friday saturday sunday section article exhibit schedule annex appendix agreement
    contract party parties date title act law code union club team hall house center centre building tower airport
    station church museum orchestra concert song album baby princess royal hong kong head president chairman
    director manager officer my me mine iban swift vat tel fax email mail phone investments extensions services
    systems international global general customer supplier licensee licensor buyer seller tenant landlord the and
    or of in on at to for with by from this that these those he she it we you they his her our your their what who
    how when where why if as is are was were not no yes all any each
    san los saint fort port mount southern northern eastern western united kingdom republic
    weekly daily entertainment beach point
    """
NO_NAMES = frozenset(_NO_NAMES.split())
"""Capitalised where a family name could stand, and none: places of addresses, forms of companies, roles, months."""

_MORE_OFTEN_NO_NAME = """
    austin virginia carolina dakota florence paris london madison jackson houston charlotte georgia israel jordan
    chad china india asia america california dallas denver phoenix sydney victoria lincoln washington savannah
    christian price page rose dawn grant mark will bill art jean an long so see son in my man do van le santa lane
    sterling royal mercedes crystal major judge king prince earl duke guy many buddy sunny
    """
MORE_OFTEN_NO_NAME = frozenset(_MORE_OFTEN_NO_NAME.split())
"""Given names of the census that alone are more often a place, a word or a family name."""
